"""Made-up recordings for tests: tones in noise, in the DCASE 2020 layout, prepared."""

import pathlib

import numpy as np
import soundfile

from asd_jax.datasets import DATASETS
from asd_jax.records.prepare import prepare

LOW, HIGH = 700, 3000
"""Two tones, Hz: plainly different to any detector."""


def write_tone(path: pathlib.Path, frequency: float, seed: int, seconds: float = 2.0) -> None:
    """A tone in noise, 16 kHz; with two tones that mean nothing, so that clips differ by more than what they are."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(16000 * seconds)) / 16000
    tones = [frequency * rng.uniform(0.98, 1.02), *rng.uniform(4000, 7500, 2)]
    wave = 0.02 * rng.normal(size=time.size)
    for tone, amplitude in zip(tones, (0.1, 0.1, 0.1), strict=True):
        wave += amplitude * np.sin(2 * np.pi * tone * time)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, 16000)


def write_machines(raw: pathlib.Path, train_clips: int, test_clips: int, shuffled: bool = False) -> pathlib.Path:
    """Two machines of one type: 00 sounds low, and its faults like 01, which sounds high.

    With `shuffled`, which training clip is whose is left to chance.
    """
    rng = np.random.default_rng(0)
    train = [("00", LOW)] * train_clips + [("01", HIGH)] * train_clips
    tones = [tone for _, tone in train]
    if shuffled:
        tones = rng.permutation(tones)
    for seed, ((machine_id, _), tone) in enumerate(zip(train, tones, strict=True)):
        write_tone(raw / f"dev_data/drill/train/normal_id_{machine_id}_{seed:08d}.wav", tone, seed)
    for seed in range(test_clips):
        write_tone(raw / f"dev_data/drill/test/normal_id_00_{seed:08d}.wav", LOW, 1000 + seed)
        write_tone(raw / f"dev_data/drill/test/anomaly_id_00_{seed:08d}.wav", HIGH, 2000 + seed)
    return raw


def prepare_machines(raw: pathlib.Path, data_dir: pathlib.Path) -> pathlib.Path:
    """Log-mels of all clips of a raw folder in the DCASE 2020 layout."""
    prepare(DATASETS["dcase2020"].list_clips(str(raw)), str(data_dir), "dcase2020", "paper1")
    return data_dir

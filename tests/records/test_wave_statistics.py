"""Statistics of waveforms: over all samples of a machine type together."""

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import Clip
from asd_jax.records.wave_statistics import measure
from asd_jax.sound.presets import PRESETS

PAPER2 = PRESETS["paper2"]


def write(path, wave, rate=16000):
    soundfile.write(path, wave, rate, subtype="DOUBLE")
    return Clip(path.stem.split("_")[0], "00", "train", str(path))


def test_all_samples_count_alike_however_long_their_clips_are(tmp_path):
    waves = [np.random.default_rng(i).normal(0.1 * i, 0.02 + 0.1 * i, 1000 + 900 * i) for i in range(12)]
    fans = [write(tmp_path / f"fan_{i}.wav", wave) for i, wave in enumerate(waves)]
    pumps = [write(tmp_path / "pump_0.wav", -0.3 + waves[0])]
    measured = measure(PAPER2, {"fan": fans, "pump": pumps}, workers=3)
    assert set(measured) == {"fan", "pump"}
    fan = np.concatenate(waves)
    assert (measured["fan"].mean, measured["fan"].std) == pytest.approx((fan.mean(), fan.std()), rel=1e-6)
    assert measured["pump"].mean == pytest.approx(waves[0].mean() - 0.3, rel=1e-6)
    assert measured["pump"].std == pytest.approx(waves[0].std(), rel=1e-5)


def test_an_offset_does_not_cancel(tmp_path):
    waves = [0.9 + 1e-5 * np.random.default_rng(i).normal(size=20000) for i in range(3)]
    clips = [write(tmp_path / f"fan_{i}.wav", wave) for i, wave in enumerate(waves)]
    found, expected = measure(PAPER2, {"fan": clips}, 2)["fan"], np.concatenate(waves).astype(np.float32)
    exact = expected.astype(np.float64)
    assert (found.mean, found.std) == pytest.approx((exact.mean(), exact.std()), rel=1e-9)


def test_samples_are_counted_at_the_rate_of_the_preset(tmp_path):
    quiet = np.tile([0.2, -0.2], 8000)
    slow = np.sin(np.arange(96000) * 0.01) * 0.8 * 2**0.5  # 2 s of power 0.64 at 48 kHz: 32000 samples of 16 kHz
    clips = [write(tmp_path / "fan_0.wav", slow, 48000), write(tmp_path / "fan_1.wav", quiet)]
    assert measure(PAPER2, {"fan": clips}, 1)["fan"].std == pytest.approx(((2 * 0.64 + 0.04) / 3) ** 0.5, rel=2e-3)


def test_clips_that_cannot_be_read_are_passed_over(tmp_path):
    clips = [write(tmp_path / f"fan_{i}.wav", np.tile([0.5, -0.1], 800)) for i in range(2)]
    silent, broken = write(tmp_path / "fan_2.wav", np.full(1600, 0.9)), tmp_path / "fan_3.wav"
    broken.write_bytes(b"no audio")
    bad = [silent, Clip("fan", "00", "train", str(broken))]
    fan = measure(PAPER2, {"fan": clips[:1] + bad + clips[1:]}, 2)["fan"]
    assert (fan.mean, fan.std) == pytest.approx((0.2, 0.3))
    with pytest.raises(UserError, match="^fan has no training clip that can be read"):
        measure(PAPER2, {"fan": bad}, 2)

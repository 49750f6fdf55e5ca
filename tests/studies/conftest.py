"""The recordings of paper 1's study in small."""

import pytest
import soundfile

from asd_jax.datasets import DATASETS, synthetic
from asd_jax.records.prepare import prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two types of three machines, of which 00 and 01 are of the development part: for all detectors."""
    folder = tmp_path_factory.mktemp("machines")
    sizes = {"machine_ids": ["00", "01", "02"], "train_clips": 6, "test_clips": 3, "seconds": 2}
    synthetic.generate(folder / "raw", machine_types=["rotor", "belt"], **sizes)
    for features in ("paper1", "dcase2020_baseline"):
        prepare(DATASETS["dcase2020"].list_clips(str(folder / "raw")), str(folder / features), "dcase2020", features)
    wave, rate = soundfile.read(next((folder / "raw").glob("*_data/belt/train/*.wav")))
    for name in ("birdsong_00", "rain_00000"):
        (folder / "sounds").mkdir(exist_ok=True)
        soundfile.write(folder / f"sounds/{name}.wav", wave, rate)
    prepare(DATASETS["audioset"].list_clips(str(folder / "sounds")), str(folder / "paper1"), "audioset", "paper1")
    return folder

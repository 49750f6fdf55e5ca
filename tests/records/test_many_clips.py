"""What listing and checking keep of a clip does not depend on how long it is; `tests/many_clips.py` in small."""

import tracemalloc

import numpy as np
import pytest
import soundfile

from asd_jax.datasets import check, dcase2020
from tests.many_clips import write_clips

CLIPS = 400


def peak(call):
    tracemalloc.start()
    call()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / CLIPS


@pytest.fixture
def raw(tmp_path):
    write_clips(tmp_path, CLIPS)
    return tmp_path


def test_a_clip_of_the_table_takes_less_than_two_kilobytes(raw):
    assert len(dcase2020.list_clips(str(raw))) == CLIPS
    assert peak(lambda: dcase2020.list_clips(str(raw))) < 2000
    assert peak(lambda: check.check(str(raw), "dcase2020", 16000)) < 3000


def test_long_clips_take_no_more_than_short_ones(raw):
    short = peak(lambda: check.check(str(raw), "dcase2020", 16000))
    with soundfile.SoundFile(raw / "noise_0.wav", "r+") as file:  # all clips are links to it
        file.seek(0, soundfile.SEEK_END)
        file.write(np.zeros(16000 * 60))
    report = check.check(str(raw), "dcase2020", 16000)
    assert report.rows[0].seconds > 60 * CLIPS / 10
    assert peak(lambda: check.check(str(raw), "dcase2020", 16000)) < 1.1 * short

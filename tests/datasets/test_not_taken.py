"""What lies beside the clips: read, told, or counted by folder and kind."""

import numpy as np
import soundfile

from asd_jax.datasets import check
from tests.datasets.test_check import RATE, write


def test_recordings_of_every_format_are_read_or_told(tmp_path):
    kinds = {"a.wav": "WAV", "b.w64": "W64", "c.caf": "CAF", "d.au": "AU", "e.FLAC": "FLAC", "f.opus": "OGG"}
    for name, kind in kinds.items():
        (tmp_path / "fan/00/train").mkdir(parents=True, exist_ok=True)
        sound = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
        subtype = "OPUS" if name.endswith("opus") else None
        soundfile.write(tmp_path / "fan/00/train" / name, sound, RATE, format=kind, subtype=subtype)
    soundfile.write(tmp_path / "fan/00/train/g.wave", sound, RATE, format="WAV")
    for name in ("h.m4a", "i.M4A", "j.wma"):
        (tmp_path / "fan/00/train" / name).write_bytes(b"x")
    report = check.check(str(tmp_path), "folder", RATE)
    assert report.all_problems == [] and report.rows[0].train == 7 and report.rows[0].formats == ("16000 Hz x 1",)
    [told] = report.all_warnings
    assert told == (
        f"3 files are of a format that is not read (2 .m4a, 1 .wma; the first is {tmp_path}/fan/00/train/h.m4a): "
        "convert them to one that is, such as .wav, .flac, .w64, .ogg or .mp3."
    )


def test_what_is_no_clip_is_counted_by_folder_and_kind(tmp_path):
    for name in ("train/section_00_source_train_normal_0000", "source_test/section_00_source_test_normal_0000"):
        write(tmp_path / "dev_data/raw/saw" / f"{name}.wav")
    write(tmp_path / "dev_data/raw/saw/target_test/wrong.wav")
    for i in range(12):  # as in the data of 2022
        write(tmp_path / f"dev_data/raw/saw/test/section_00_source_test_normal_{i:04}.wav")
        (tmp_path / f"notes_{i}").mkdir()
        (tmp_path / f"notes_{i}/a.txt").touch()
    (tmp_path / "dev_data/raw/saw/attributes_00.csv").touch()
    (tmp_path / "link").symlink_to("dev_data")
    report = check.check(str(tmp_path), "dcase2021", RATE)
    assert [(row.machine_id, row.train, row.test_normal) for row in report.rows] == [("00", 1, 1)]
    misfit, other = report.all_problems
    assert misfit.startswith(f"{tmp_path}/dev_data/raw/saw/target_test/wrong.wav does not fit the DCASE 2021 layout")
    assert other == (
        "12 .wav files in dev_data/raw/saw/test are not taken: DCASE 2021 has its clips in "
        "<machine type>/{train,source_test,target_test} of dev_data and eval_data."
    )
    assert report.others[0] == "1 .csv files in dev_data/raw/saw are not taken"
    assert len(report.others) == 11 and report.others[-1] == "3 files in 3 further places are not taken"


def test_recordings_beside_a_manifest_or_the_scenes_are_a_warning(tmp_path):
    write(tmp_path / "scenes/audio/a.wav")
    write(tmp_path / "scenes/more/b.wav")
    [warning] = check.check(str(tmp_path / "scenes"), "tau2020", RATE).all_warnings
    assert warning == "1 .wav files in more are not taken."
    write(tmp_path / "own/a.wav")
    write(tmp_path / "own/b.wav")
    (tmp_path / "own/manifest.csv").write_text("path,machine_type,machine_id,split,label\na.wav,saw,1,train,0\n")
    [warning] = check.check(str(tmp_path / "own"), "folder", RATE).all_warnings
    assert warning == "1 .wav files in the folder itself are not taken."

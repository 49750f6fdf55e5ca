"""What every data set keeps to, by being in `DATASETS`: its published counts, its names, its score files."""

import pathlib
import re

import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS, is_machine, synthetic
from asd_jax.evaluation.score_files import read_score_directory, write_scores


@pytest.mark.parametrize("name", DATASETS)
def test_what_is_published_fits_together(name):
    dataset = DATASETS[name]
    assert dataset.name == name
    types = {machine_type for machine_type, _, _, _ in dataset.counts}
    assert types == set(dataset.machine_types) or types == {dataset.other_sounds} - {""}
    assert set(dataset.seconds) <= types and all(seconds > 0 for seconds in dataset.seconds.values())
    for (_, machine_id, part, domain), counts in dataset.counts.items():
        assert machine_id and part in ("dev", "eval") and bool(domain) == dataset.by_domain
        assert len(counts) == 3 and counts[0] > 0
        for split in ("train", "test"):
            assert dataset.archives[part, split].format("fan")
    assert bool(dataset.expected) == bool(dataset.machine_types)
    assert dataset.other_sounds == "" or not is_machine((dataset.other_sounds, "all"))


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_folder_is_told_by_name(name, tmp_path):
    with pytest.raises(UserError, match=re.escape(str(tmp_path))):
        DATASETS[name].list_clips(str(tmp_path))


@pytest.mark.parametrize("name", synthetic.layouts())
def test_made_up_recordings_are_found_again_and_their_score_files_read_as_written(name, tmp_path):
    dataset, sizes = DATASETS[name], {"machine_ids": ["00", "03"], "train_clips": 2, "test_clips": 2, "seconds": 1}
    written = synthetic.generate(tmp_path / "raw", layout=name, machine_types=["rotor"], **sizes)
    clips = dataset.list_clips(str(tmp_path / "raw"))
    assert len(clips) == written and {clip.machine for clip in clips} == {("rotor", "00"), ("rotor", "03")}
    assert all(clip.label == 0 for clip in clips if clip.split == "train")
    tests = [clip for clip in clips if clip.split == "test"]
    assert {clip.label for clip in tests} == {0, 1}
    expected = {}
    for clip in tests:
        place = (*clip.machine, clip.domain if dataset.score_files.by_domain else None)
        expected.setdefault(place, {})[pathlib.Path(clip.path).stem] = (float(len(expected)), clip.label)
    for (machine_type, machine_id, domain), rows in expected.items():
        path = tmp_path / dataset.score_files.file("anomaly_score", machine_type, machine_id, domain)
        write_scores(path, [(f"{clip}.wav", score) for clip, (score, _) in rows.items()])
    called, found = read_score_directory(tmp_path, tmp_path / "raw" / "eval_data_list.csv")
    assert called.score_files == dataset.score_files
    assert {(one.machine_type, one.machine_id, one.domain): one for one in found}.keys() == expected.keys()
    for one in found:
        rows = expected[one.machine_type, one.machine_id, one.domain]
        assert dict(zip(one.names, zip(one.scores, one.labels, strict=True), strict=True)) == rows

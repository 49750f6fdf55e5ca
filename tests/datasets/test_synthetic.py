"""The made-up data sets: what is written where."""

import os
import re
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.datasets import dcase2021, synthetic


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_layout_names_counts_and_format(tmp_path):
    count = synthetic.generate(
        tmp_path, machine_types=("belt",), machine_ids=("00", "02", "05"), train_clips=2, test_clips=1, seconds=1.5
    )
    assert count == 3 * (2 + 2)
    dev = [
        f"dev_data/belt/{name}_{counter:08d}.wav"
        for machine_id in ("00", "02")
        for name, counter in [
            (f"train/normal_id_{machine_id}", 0),
            (f"train/normal_id_{machine_id}", 1),
            (f"test/normal_id_{machine_id}", 0),
            (f"test/anomaly_id_{machine_id}", 0),
        ]
    ]
    evaluation = [
        f"eval_data/belt/{name}.wav"
        for name in (
            "train/normal_id_05_00000000",
            "train/normal_id_05_00000001",
            "test/id_05_00000000",
            "test/id_05_00000001",
        )
    ]
    assert sorted(files(tmp_path)) == sorted([*dev, *evaluation, "eval_data_list.csv"])
    for path in tmp_path.rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames, info.subtype) == (16_000, 1, 24_000, "PCM_16")


def test_the_same_arguments_write_the_same_bytes_and_another_seed_others(tmp_path):
    few = {"machine_ids": ("00", "01"), "train_clips": 1, "test_clips": 1, "seconds": 1.0}
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        synthetic.generate(tmp_path / folder, seed=seed, **few)
    synthetic.generate(tmp_path / "a", **few)
    first, again, other = (files(tmp_path / folder) for folder in "abc")
    assert first == again
    assert all(other[name] != content for name, content in first.items() if name.endswith(".wav"))
    wavs = [content for name, content in first.items() if name.endswith(".wav")]
    assert len(set(wavs)) == len(wavs)  # no two clips are the same recording


def test_more_clips_keep_the_former_ones(tmp_path):
    one = {"machine_types": ("relay",), "machine_ids": ("00", "01"), "seconds": 1.0}
    synthetic.generate(tmp_path, train_clips=1, test_clips=2, **one)
    before = files(tmp_path)
    synthetic.generate(tmp_path, train_clips=3, test_clips=4, **one)
    after = files(tmp_path)
    truth = "eval_data_list.csv"
    assert set(after) > set(before)
    assert all(after[name] == content for name, content in before.items() if name != truth)
    assert after[truth].startswith(before[truth])


def test_the_evaluation_list_tells_the_truth(tmp_path):
    types = ("rotor", "piston")
    few = {"machine_types": types, "test_clips": 12, "train_clips": 0, "seconds": 1.0}
    synthetic.generate(tmp_path, machine_ids=("00", "01"), **few)
    machine_type, labels, listed = None, {}, set()
    for line in (tmp_path / "eval_data_list.csv").read_text().splitlines():
        if "," not in line:
            machine_type = line
            continue
        name, labelled, label = line.split(",")
        listed.add(tmp_path / "eval_data" / machine_type / "test" / name)
        labels[machine_type, name] = int(label)
        assert labelled.startswith(("normal", "anomaly")[int(label)] + "_id_01_")
        counter = int(labelled[-12:-4])
        content = soundfile.read(tmp_path / "eval_data" / machine_type / "test" / name, dtype="int16")[0]
        expected = synthetic.made_up_sound(0, machine_type, "01", "test", int(label), counter, 1.0)
        np.testing.assert_array_equal(content, expected)
    assert listed == set(tmp_path.glob("eval_data/*/test/*.wav"))
    in_order_of_name = [labels[key] for key in sorted(labels)]
    assert sum(in_order_of_name) == len(labels) // 2 == 24
    assert set(in_order_of_name[::2]) == {0, 1}  # the order of the names tells nothing


FEW_2021 = {"layout": "dcase2021", "machine_types": ("belt",), "machine_ids": ("00", "03"), "seconds": 1.0}


def test_layout_names_and_counts_of_2021(tmp_path):
    assert synthetic.generate(tmp_path, train_clips=4, test_clips=1, **FEW_2021) == 2 * (4 + 3 + 4)
    train = [f"source_train_normal_000{i}_condition_1" for i in range(4)]
    train += [f"target_train_normal_000{i}_condition_2" for i in range(3)]
    expected = [
        f"{part}_data/belt/train/section_{section}_{name}.wav"
        for part, section in (("dev", "00"), ("eval", "03"))
        for name in train
    ]
    for domain in ("source", "target"):
        dev, evaluation = (f"{part}_data/belt/{domain}_test/section" for part in ("dev", "eval"))
        expected += [f"{dev}_00_{domain}_test_{label}_0000.wav" for label in ("normal", "anomaly")]
        expected += [f"{evaluation}_03_{domain}_test_000{i}.wav" for i in range(2)]
        expected.append(f"ground_truth_data/ground_truth_belt_section_03_{domain}_test.csv")
    assert sorted(files(tmp_path)) == sorted([*expected, "eval_data_list.csv"])


def test_what_is_written_of_2021_is_read_back_with_true_labels(tmp_path):
    synthetic.generate(tmp_path, train_clips=4, test_clips=8, **FEW_2021)
    both = dcase2021.list_clips(str(tmp_path))
    (tmp_path / "eval_data_list.csv").rename(tmp_path / "away.csv")
    assert dcase2021.list_clips(str(tmp_path)) == both
    (tmp_path / "away.csv").rename(tmp_path / "eval_data_list.csv")
    shutil.rmtree(tmp_path / "ground_truth_data")
    assert dcase2021.list_clips(str(tmp_path)) == both  # either tells all labels
    counts = Counter((clip.machine_id, clip.part, clip.split, clip.domain, clip.label) for clip in both)
    assert counts == {
        (section, part, *rest): count
        for section, part in (("00", "dev"), ("03", "eval"))
        for rest, count in (
            (("train", "source", 0), 4),
            (("train", "target", 0), 3),
            (("test", "source", 0), 8),
            (("test", "source", 1), 8),
            (("test", "target", 0), 8),
            (("test", "target", 1), 8),
        )
    }
    for clip in both:
        number = int(re.search(r"_(\d{4})[_.]", os.path.basename(clip.path))[1])
        counter = number // 2 if (clip.part, clip.split) == ("eval", "test") else number
        kind = (clip.machine_type, clip.machine_id, clip.split, clip.label, counter)
        expected = synthetic.made_up_sound(0, *kind, 1.0, clip.domain)
        np.testing.assert_array_equal(soundfile.read(clip.path, dtype="int16")[0], expected)
    evaluation = [clip.label for clip in both if (clip.part, clip.split, clip.domain) == ("eval", "test", "source")]
    assert set(evaluation[::2]) == {0, 1}  # the order of the names tells nothing


def test_the_source_domain_of_2021_is_the_data_set_of_2020(tmp_path):
    few = {"train_clips": 2, "test_clips": 2, "seed": 3}
    synthetic.generate(tmp_path / "2021", **few, **FEW_2021)
    synthetic.generate(tmp_path / "2020", **few, **FEW_2021 | {"layout": "dcase2020"})
    wavs = {
        year: Counter(path.read_bytes() for path in (tmp_path / year).rglob(pattern))
        for year, pattern in (("2020", "*.wav"), ("2021", "*_source_*.wav"))
    }
    assert wavs["2020"] == wavs["2021"] and len(wavs["2020"]) == 12


def test_more_clips_of_2021_keep_the_former_ones(tmp_path):
    synthetic.generate(tmp_path, train_clips=1, test_clips=1, **FEW_2021)
    before = files(tmp_path)
    synthetic.generate(tmp_path, train_clips=2, test_clips=2, **FEW_2021)
    after = files(tmp_path)
    assert set(after) > set(before)
    for name, content in before.items():
        assert after[name] == content or name.endswith(".csv")
        assert name == "eval_data_list.csv" or after[name].startswith(content)
    with pytest.raises(UserError, match="already holds 26 clips that these arguments do not make"):
        synthetic.generate(tmp_path, train_clips=2, test_clips=2, **FEW_2021 | {"layout": "dcase2020"})


def test_mistakes_are_told(tmp_path):
    with pytest.raises(UserError, match="no synthetic machine type 'fan': choose from rotor, piston, belt, relay"):
        synthetic.generate(tmp_path, machine_types=("fan",))
    with pytest.raises(UserError, match="no synthetic layout 'dcase2022': choose from dcase2020, dcase2021"):
        synthetic.generate(tmp_path, layout="dcase2022")
    with pytest.raises(UserError, match="ID '7' is not two digits"):
        synthetic.generate(tmp_path, machine_ids=("7",))
    foreign = tmp_path / "dev_data" / "fan" / "train" / "normal_id_00_00000000.wav"
    foreign.parent.mkdir(parents=True)
    foreign.touch()
    with pytest.raises(UserError, match="already holds 1 clips"):
        synthetic.generate(tmp_path, machine_types=("belt",))
    assert list(tmp_path.rglob("*.wav")) == [foreign]

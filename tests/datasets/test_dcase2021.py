"""The DCASE 2021 layout: fields from names, labels from lists and ground truth, and what is refused."""

import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS, dcase2021
from asd_jax.datasets.clips import Clip

TRAIN = "section_00_source_train_normal_0000_strength_1_ambient.wav"
ATTRIBUTES = "strength_1_ambient"
LIST = (
    "fan\nsection_03_source_test_0000.wav,section_03_source_test_normal_0000.wav\n"
    "section_03_source_test_0001.wav,section_03_source_test_anomaly_0001.wav\n"
)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def labels(raw):
    return {clip.path.rsplit("/", 1)[1]: clip.label for clip in dcase2021.list_clips(str(raw))}


def test_every_field_comes_from_the_name(tmp_path):
    touch(
        tmp_path,
        f"dev_data/fan/train/{TRAIN}",
        "dev_data/fan/train/section_00_target_train_normal_0002.flac",
        "dev_data/fan/source_test/section_01_source_test_normal_0099.wav",
        "dev_data/fan/target_test/section_01_target_test_anomaly_0099.WAV",
        "eval_data/ToyTrain/train/section_05_target_train_normal_0001_anomaly_source_0.5.wav",
        "eval_data/ToyTrain/target_test/section_05_target_test_0000.wav",
        "eval_data/ToyTrain/target_test/section_05_target_test_anomaly_0001.wav",
        "eval_data/propeller/source_test/section_03_source_test_0000.wav",
    )
    dev, toy = f"{tmp_path}/dev_data/fan", f"{tmp_path}/eval_data/ToyTrain"
    fan = {"group": "MIMII DUE"}
    train = {"part": "eval", "group": "ToyADMOS2", "domain": "target"}
    assert dcase2021.list_clips(str(tmp_path)) == [
        Clip("ToyTrain", "05", "test", f"{toy}/target_test/section_05_target_test_0000.wav", None, **train),
        Clip("ToyTrain", "05", "test", f"{toy}/target_test/section_05_target_test_anomaly_0001.wav", 1, **train),
        Clip(
            "ToyTrain",
            "05",
            "train",
            f"{toy}/train/section_05_target_train_normal_0001_anomaly_source_0.5.wav",
            0,
            attributes="anomaly_source_0.5",
            **train,
        ),
        Clip("fan", "00", "train", f"{dev}/train/{TRAIN}", 0, attributes=ATTRIBUTES, **fan),
        Clip("fan", "00", "train", f"{dev}/train/section_00_target_train_normal_0002.flac", 0, domain="target", **fan),
        Clip("fan", "01", "test", f"{dev}/source_test/section_01_source_test_normal_0099.wav", 0, **fan),
        Clip(
            "fan",
            "01",
            "test",
            f"{dev}/target_test/section_01_target_test_anomaly_0099.WAV",
            1,
            domain="target",
            **fan,
        ),
        Clip(
            "propeller",
            "03",
            "test",
            f"{tmp_path}/eval_data/propeller/source_test/section_03_source_test_0000.wav",
            None,
            part="eval",
            group="default",
        ),
    ]


def test_the_table_of_layouts_names_this_one():
    assert DATASETS["dcase2021"].list_clips is dcase2021.list_clips


@pytest.mark.parametrize(
    "place", ["", "eval_data", "ground_truth", "eval_data/ground_truth_data", "evaluator/ground_truth_data"]
)
def test_ground_truth_labels_evaluation_clips_whatever_their_extension(tmp_path, place):
    touch(
        tmp_path,
        *(f"eval_data/fan/source_test/section_03_source_test_000{i}.flac" for i in range(3)),
        "eval_data/fan/target_test/section_03_target_test_0000.wav",
        "eval_data/fan_2/source_test/section_04_source_test_0000.wav",
    )
    truth = tmp_path / place / "ground_truth_fan_section_03_source_test.csv"
    write(truth, "section_03_source_test_0000.wav,0\nsection_03_source_test_0001.wav,1\n")
    write(tmp_path / place / "ground_truth_fan_2_section_04_source_test.csv", "section_04_source_test_0000.wav,1\n")
    assert labels(tmp_path) == {
        "section_03_source_test_0000.flac": 0,
        "section_03_source_test_0001.flac": 1,
        "section_03_source_test_0002.flac": None,
        "section_03_target_test_0000.wav": None,
        "section_04_source_test_0000.wav": 1,
    }


@pytest.mark.parametrize("place", ["eval_data_list.csv", "eval_data/eval_data_list.csv"])
def test_the_list_labels_evaluation_clips_beside_ground_truth(tmp_path, place):
    touch(
        tmp_path,
        *(f"eval_data/fan/source_test/section_03_source_test_000{i}.wav" for i in range(2)),
        "eval_data/fan/target_test/section_03_target_test_0000.wav",
        "eval_data/pump/source_test/section_03_source_test_0001.wav",
    )
    write(tmp_path / place, LIST)
    write(tmp_path / "ground_truth_fan_section_03_source_test.csv", "section_03_source_test_0001.wav,1\n")
    write(tmp_path / "ground_truth_fan_section_03_target_test.csv", "section_03_target_test_0000.wav,0\n")
    found = {(clip.machine_type, clip.domain, clip.label) for clip in dcase2021.list_clips(str(tmp_path))}
    assert found == {
        ("fan", "source", 0),
        ("fan", "source", 1),
        ("fan", "target", 0),
        ("pump", "source", None),
    }


def test_sources_that_disagree_are_both_named(tmp_path):
    touch(tmp_path, "eval_data/fan/source_test/section_03_source_test_0001.wav")
    write(tmp_path / "eval_data_list.csv", LIST)
    truth = "ground_truth_fan_section_03_source_test.csv"
    write(tmp_path / truth, "section_03_source_test_0001.wav,0\n")
    clip = "fan clip section_03_source_test_0001 two labels, 1 and 0"
    with pytest.raises(UserError, match=f"eval_data_list.csv and .*{truth} give {clip}"):
        dcase2021.list_clips(str(tmp_path))
    (tmp_path / "eval_data_list.csv").unlink()
    write(tmp_path / "ground_truth" / truth, "section_03_source_test_0001.flac,1\n")
    with pytest.raises(UserError, match=f"{truth} and .*ground_truth/{truth} give fan clip"):
        dcase2021.list_clips(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.wav,0\nb.wav,2\n", "line 2 is 'b.wav,2': expected 'file name,0'"),
        ("a.wav\n", "line 1 is 'a.wav': expected 'file name,0'"),
        ("a.wav,normal.wav,0\n", "line 1 is"),
        ("a.wav,0\na.wav,1\n", "line 2 lists a.wav a second time"),
    ],
)
def test_malformed_ground_truth_is_refused(tmp_path, text, expected):
    touch(tmp_path, "eval_data/fan/source_test/section_03_source_test_0001.wav")
    write(tmp_path / "ground_truth_fan_section_03_source_test.csv", text)
    with pytest.raises(UserError, match=expected):
        dcase2021.list_clips(str(tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        "dev_data/fan/train/section_00_source_train_anomaly_0000.wav",
        "dev_data/fan/train/section_00_train_normal_0000.wav",
        "dev_data/fan/train/section_00_source_test_normal_0000.wav",
        "dev_data/fan/train/normal_id_00_00000000.wav",
        "dev_data/fan/source_test/section_00_source_test_0000.wav",
        "dev_data/fan/source_test/section_00_target_test_normal_0000.wav",
        "dev_data/fan/source_test/section_00_source_test_normal_0000.mp3",
        "eval_data/fan/target_test/section_03_source_test_0000.wav",
        "eval_data/fan/target_test/section_03_target_test_.wav",
    ],
)
def test_a_name_that_does_not_fit_is_named_with_the_pattern_or_kept(tmp_path, name):
    touch(tmp_path, f"dev_data/fan/train/{TRAIN}", name)
    expected = f"{name} does not fit the DCASE 2021 layout: .* called section_XX_.*_NNNN"
    with pytest.raises(UserError, match=expected):
        dcase2021.list_clips(str(tmp_path))
    misfits = []
    assert len(dcase2021.list_clips(str(tmp_path), misfits=misfits)) == 1
    assert len(misfits) == 1 and name in misfits[0]


def test_one_clip_as_wav_and_as_flac_is_refused(tmp_path):
    stem = "dev_data/fan/source_test/section_00_source_test_normal_0000"
    touch(tmp_path, f"{stem}.wav", f"{stem}.flac")
    with pytest.raises(UserError, match="0000.wav and .*0000.flac are one clip twice"):
        dcase2021.list_clips(str(tmp_path))


def test_types_and_groups_can_be_named_and_leftovers_are_no_clips(tmp_path):
    touch(tmp_path, *(f"dev_data/{t}/train/{TRAIN}" for t in ("fan", "drill", "saw")))
    touch(tmp_path, f"dev_data/fan/train/._{TRAIN}", f"dev_data/__MACOSX/train/{TRAIN}")
    touch(tmp_path, "dev_data/ground_truth_data/notes.txt")
    clips = dcase2021.list_clips(str(tmp_path), machine_types=["fan", "saw"], groups={"fan": "hall"})
    assert [(clip.machine_type, clip.group) for clip in clips] == [("fan", "hall"), ("saw", "default")]
    with pytest.raises(UserError, match="No machine type pmup in .*: it holds drill, fan, saw;"):
        dcase2021.list_clips(str(tmp_path), machine_types=["pmup"])


def test_an_empty_folder_says_what_was_expected_and_names_zips(tmp_path):
    expected = "dev_data/<machine type>/train/section_XX_source_train_normal_NNNN_<attributes>.wav, and the like in "
    for raw in (tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match=f"{expected}source_test, target_test and eval_data\\."):
            dcase2021.list_clips(str(raw))
    touch(tmp_path, "eval_data/eval_data_fan_train.zip")
    with pytest.raises(UserError, match=r"eval_data_fan_train\.zip lies there: unzip it first"):
        dcase2021.list_clips(str(tmp_path))


def test_the_published_counts_add_up_to_the_published_totals():
    totals = {
        (domain, part): [sum(column) for column in zip(*(c for t in types.values() for c in t.values()), strict=True)]
        for domain, parts in dcase2021.CLIP_COUNTS.items()
        for part, types in parts.items()
    }
    assert totals["source", "dev"] == [21000, 2100, 2100]
    assert totals["target", "dev"] == [63, 2100, 2100]
    assert [a + b for a, b in zip(totals["source", "eval"], totals["target", "eval"], strict=True)] == [
        21063,
        4306,
        4329,
    ]
    assert dcase2021.CLIP_COUNTS["target"]["eval"]["gearbox"]["03"] == (3, 104, 182)

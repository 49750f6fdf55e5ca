"""The DCASE 2020 layout: fields from names, labels from the list, and what is refused."""

import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS, dcase2020
from asd_jax.datasets.clips import Clip

LIST = "fan\nid_01_00000000.wav,normal_id_01_00000098.wav,0\nid_01_00000001.wav,anomaly_id_01_00000064.wav,1\n"


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(clips):
    return [clip.path.rsplit("/", 1)[1] for clip in clips]


def test_every_field_comes_from_the_name(tmp_path):
    touch(
        tmp_path,
        "dev_data/fan/test/normal_id_02_00000007.wav",
        "dev_data/fan/test/anomaly_id_02_00000007.WAV",
        "dev_data/fan/train/normal_id_02_00000007.flac",
        "eval_data/ToyCar/train/normal_id_05_00000000.wav",
        "eval_data/ToyCar/test/id_05_00000000.wav",
        "eval_data/propeller/train/normal_id_01_00000000.FLAC",
    )
    fan, toy = f"{tmp_path}/dev_data/fan", f"{tmp_path}/eval_data/ToyCar"
    assert dcase2020.list_clips(str(tmp_path)) == [
        Clip("ToyCar", "05", "test", f"{toy}/test/id_05_00000000.wav", None, part="eval", group="ToyADMOS"),
        Clip("ToyCar", "05", "train", f"{toy}/train/normal_id_05_00000000.wav", 0, part="eval", group="ToyADMOS"),
        Clip("fan", "02", "test", f"{fan}/test/anomaly_id_02_00000007.WAV", 1, group="MIMII"),
        Clip("fan", "02", "test", f"{fan}/test/normal_id_02_00000007.wav", 0, group="MIMII"),
        Clip("fan", "02", "train", f"{fan}/train/normal_id_02_00000007.flac", 0, group="MIMII"),
        Clip(
            "propeller",
            "01",
            "train",
            f"{tmp_path}/eval_data/propeller/train/normal_id_01_00000000.FLAC",
            0,
            part="eval",
            group="default",
        ),
    ]


def test_the_table_of_layouts_names_this_one():
    assert DATASETS["dcase2020"].list_clips is dcase2020.list_clips


@pytest.mark.parametrize("place", ["eval_data_list.csv", "eval_data/eval_data_list.csv"])
def test_the_list_labels_evaluation_clips_whatever_their_extension(tmp_path, place):
    test = "eval_data/fan/test"
    touch(tmp_path, *(f"{test}/id_01_0000000{i}.flac" for i in range(3)), "eval_data/pump/test/id_01_00000001.wav")
    (tmp_path / place).write_text(LIST)
    clips = dcase2020.list_clips(str(tmp_path))
    labels = {(clip.machine_type, *names([clip])): clip.label for clip in clips}
    assert len(clips) == 4
    assert labels == {
        ("fan", "id_01_00000000.flac"): 0,
        ("fan", "id_01_00000001.flac"): 1,
        ("fan", "id_01_00000002.flac"): None,
        ("pump", "id_01_00000001.wav"): None,
    }


def test_a_list_that_does_not_fit_is_refused(tmp_path):
    (tmp_path / "eval_data_list.csv").write_text(LIST + "id_01_00000000.wav,anomaly_id_01_00000098.wav,1\n")
    touch(tmp_path, "eval_data/fan/test/id_01_00000000.wav")
    with pytest.raises(UserError, match="line 4 lists id_01_00000000.wav a second time"):
        dcase2020.list_clips(str(tmp_path))


def test_machine_types_filter_and_a_missing_one_is_told(tmp_path):
    touch(tmp_path, "dev_data/fan/train/normal_id_00_00000000.wav", "dev_data/pump/train/normal_id_00_00000000.wav")
    clips = dcase2020.list_clips(str(tmp_path), machine_types=["pump"])
    assert [clip.machine for clip in clips] == [("pump", "00")]
    with pytest.raises(UserError, match="No machine type pmup in .*: it holds fan, pump"):
        dcase2020.list_clips(str(tmp_path), machine_types=["pmup"])


def test_groups_given_by_name_win(tmp_path):
    touch(tmp_path, *(f"dev_data/{t}/train/normal_id_00_00000000.wav" for t in ("fan", "drill", "saw", "lathe")))
    clips = dcase2020.list_clips(str(tmp_path), groups={"drill": "hall", "fan": "hall"})
    assert {c.machine_type: c.group for c in clips} == {
        "drill": "hall",
        "fan": "hall",
        "lathe": "default",
        "saw": "default",
    }


@pytest.mark.parametrize(
    "name",
    [
        "dev_data/fan/train/anomaly_id_00_00000000.wav",
        "dev_data/fan/train/id_00_00000000.wav",
        "dev_data/fan/test/id_00_00000000.wav",
        "dev_data/fan/test/normal_id_00_00000000.mp3",
        "dev_data/fan/test/normal_id_00.wav",
        "dev_data/fan/test/section_00_source_test_normal_0000.wav",
        "eval_data/fan/test/normal_00_00000000.wav",
    ],
)
def test_a_name_that_does_not_fit_is_named_with_the_pattern(tmp_path, name):
    touch(tmp_path, "dev_data/fan/train/normal_id_00_00000001.wav", name)
    with pytest.raises(UserError, match=f"{name} does not fit .* called .*id_XX_NNNNNNNN"):
        dcase2020.list_clips(str(tmp_path))


def test_one_clip_as_wav_and_as_flac_is_refused(tmp_path):
    stem = "dev_data/fan/test/normal_id_00_00000000"
    touch(tmp_path, f"{stem}.wav", f"{stem}.flac")
    with pytest.raises(UserError, match="00000000.wav and .*00000000.flac are one clip twice"):
        dcase2020.list_clips(str(tmp_path))


def test_leftovers_of_operating_systems_are_not_clips(tmp_path):
    fan = "dev_data/fan/train"
    touch(tmp_path, f"{fan}/normal_id_00_00000000.wav", f"{fan}/.DS_Store", f"{fan}/._normal_id_00_00000000.wav")
    touch(tmp_path, "dev_data/__MACOSX/fan/train/normal_id_00_00000000.wav")
    assert names(dcase2020.list_clips(str(tmp_path))) == ["normal_id_00_00000000.wav"]


def test_an_empty_folder_says_what_was_expected_and_names_zips(tmp_path):
    for raw in (tmp_path / "missing", tmp_path):
        with pytest.raises(
            UserError, match="expected .*dev_data/<machine type>/train/normal_id_XX_NNNNNNNN.wav"
        ) as error:
            dcase2020.list_clips(str(raw))
        assert "unzip" not in str(error.value)
    (tmp_path / "dev_data" / "fan" / "train").mkdir(parents=True)
    touch(tmp_path, "dev_data/dev_data_fan.zip")
    with pytest.raises(UserError, match=r"dev_data_fan\.zip lies there: unzip it first"):
        dcase2020.list_clips(str(tmp_path))


def test_the_published_counts_add_up_to_the_published_totals():
    dev = [counts for ids in dcase2020.CLIP_COUNTS["dev"].values() for counts in ids.values()]
    evaluation = [counts for ids in dcase2020.CLIP_COUNTS["eval"].values() for counts in ids.values()]
    assert (len(dev), len(evaluation)) == (23, 18)
    assert [sum(column) for column in zip(*dev, strict=True)] == [20119, 5399, 5469]
    assert sum(counts[0] for counts in evaluation) == 16164
    assert sum(counts[1] + counts[2] for counts in evaluation) == 7103

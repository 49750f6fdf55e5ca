"""A manifest and a plain tree: what they say, and what is refused."""

import os
import unicodedata

import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets import dcase2020, folder
from asd_jax.datasets.clips import Clip

HEADER = "path,machine_type,machine_id,split,label\n"


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write_manifest(root, rows, files=("a.wav", "sub/b.mp3", "c.flac")):
    touch(root, *files)
    (root / "manifest.csv").write_text(HEADER + rows)


@pytest.mark.parametrize("as_file", [False, True])
def test_a_manifest_says_everything(tmp_path, as_file):
    write_manifest(
        tmp_path, "c.flac,drill,1,test,\nsub/b.mp3,drill,1,test,anomaly\na.wav,drill,1,train,\nd.wav,saw,x,test,0\n"
    )
    touch(tmp_path, "d.wav", "not_listed.wav")
    raw = tmp_path / "manifest.csv" if as_file else tmp_path
    assert folder.list_clips(str(raw), groups={"saw": "yard"}) == [
        Clip("drill", "1", "test", f"{tmp_path}/c.flac", None, group="default"),
        Clip("drill", "1", "test", f"{tmp_path}/sub/b.mp3", 1, group="default"),
        Clip("drill", "1", "train", f"{tmp_path}/a.wav", 0, group="default"),
        Clip("saw", "x", "test", f"{tmp_path}/d.wav", 0, group="yard"),
    ]


def test_a_manifest_from_a_spreadsheet_is_read(tmp_path):
    touch(tmp_path, "a.wav")
    text = "\ufefflabel,split,machine_id,machine_type,path,note\r\nNormal,test,1,drill,./a.wav,loud\r\n"
    (tmp_path / "manifest.csv").write_bytes(text.encode())
    assert folder.list_clips(str(tmp_path)) == [Clip("drill", "1", "test", f"{tmp_path}/a.wav", 0, group="default")]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a.wav,drill,1,test,0\n./a.wav,drill,1,test,1\n", "line 3: ./a.wav is listed a second time"),
        ("a.wav,drill,1,train,0\na.wav,drill,1,test,0\n", "line 3: a.wav is listed a second time"),
        ("a.wav,drill,1,train,1\n", "line 2: an anomaly among the training clips"),
        (
            "a.wav,drill,1,test,0,more\n",
            "line 2: it has more cells than the first line; write a value that holds commas",
        ),
        ("a.wav,drill,1,test,maybe\n", "line 2: the label is 'maybe'; expected 0, 1"),
        ("a.wav,drill,1,dev,0\n", "line 2: the split is 'dev'; expected train or test"),
        ("a.wav,,1,test,0\n", "line 2: path, machine_type and machine_id must not be empty"),
        ("a.wav,drill\n", "line 2: path, machine_type and machine_id must not be empty"),
        ("gone.wav,drill,1,test,0\n", "line 2: there is no file .*gone.wav"),
        ("", "No recordings found"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, rows, expected):
    write_manifest(tmp_path, rows)
    with pytest.raises(UserError, match=expected):
        folder.list_clips(str(tmp_path))


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_delimiter_is_named(tmp_path, mark, name):
    (tmp_path / "manifest.csv").write_text(HEADER.replace(",", mark) + "a.wav,drill,1,test,0\n".replace(",", mark))
    with pytest.raises(UserError, match=f"no column path, .* .it is divided by {name}: save it with commas.: expected"):
        folder.list_clips(str(tmp_path))


def test_words_and_numbers_as_tables_write_them(tmp_path):
    write_manifest(tmp_path, "a.wav,drill,1,Train,0.0\nsub/b.mp3,drill,1,TEST,1.0\nc.flac,drill,1,test,Normal\n")
    assert [(clip.split, clip.label) for clip in folder.list_clips(str(tmp_path))] == [
        ("test", 0),
        ("test", 1),
        ("train", 0),
    ]


def test_a_row_twice_is_one_clip(tmp_path):
    write_manifest(tmp_path, "a.wav,drill,1,test,0\na.wav,drill,1,test,normal\n")
    assert len(folder.list_clips(str(tmp_path))) == 1


def test_a_manifest_without_a_column_or_in_another_encoding_is_told(tmp_path):
    (tmp_path / "manifest.csv").write_text("path,machine_type,split\n")
    with pytest.raises(UserError, match="no column machine_id, label: expected the first line path,machine_type"):
        folder.list_clips(str(tmp_path))
    (tmp_path / "manifest.csv").write_bytes("pâth".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        folder.list_clips(str(tmp_path))


def test_a_tree_says_everything(tmp_path):
    touch(
        tmp_path,
        "drill/left/train/monday/1.ogg",
        "drill/left/train/normal_2.wav",
        "drill/left/test/Anomaly/deep/3.AIFF",
        "drill/left/test/normal/4.wav",
        "drill/left/test/anomaly-5.wav",
        "drill/left/test/normalised.wav",
        "drill/left/test/notes.txt",
        "drill/left/test/._normal.wav",
        "saw/1/train/__6.wav",
        "__MACOSX/1/train/6.wav",
    )
    left = f"{tmp_path}/drill/left"
    clips = folder.list_clips(str(tmp_path))
    assert clips == sorted(clips)
    assert {clip.path: (*clip.machine, clip.split, clip.label) for clip in clips} == {
        f"{left}/train/monday/1.ogg": ("drill", "left", "train", 0),
        f"{left}/train/normal_2.wav": ("drill", "left", "train", 0),
        f"{left}/test/Anomaly/deep/3.AIFF": ("drill", "left", "test", 1),
        f"{left}/test/normal/4.wav": ("drill", "left", "test", 0),
        f"{left}/test/anomaly-5.wav": ("drill", "left", "test", 1),
        f"{left}/test/normalised.wav": ("drill", "left", "test", None),
        f"{tmp_path}/saw/1/train/__6.wav": ("saw", "1", "train", 0),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "drill/1/train/anomaly/x.wav",
            "drill/1/train/anomaly: an anomaly among the training clips, .* move it to test",
        ),
        ("drill/1/train/monday/Abnormal 2/x.wav", "train/monday/Abnormal 2: an anomaly among the training clips"),
        ("drill/1/train/abnormal_x.wav", "train/abnormal_x.wav: an anomaly among the training clips"),
        ("drill/1/test/normal/anomaly_x.wav", "called both normal and anomaly"),
        ("drill/1/x.wav", "drill/1/x.wav does not fit the layout: expected it in machine_type/machine_id/train/"),
        ("drill/1/validation/x.wav", "does not fit the layout"),
    ],
)
def test_a_file_that_does_not_fit_the_tree_is_named(tmp_path, name, expected):
    touch(tmp_path, name)
    with pytest.raises(UserError, match=expected):
        folder.list_clips(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("normal", 0),
        ("Healthy", 0),
        ("OK 2", 0),
        ("2_good", 0),
        ("abnormal", 1),
        ("ANOMALOUS", 1),
        ("fault-01", 1),
        ("defect", 1),
        ("anomaly_detection", None),
        ("normalised", None),
        ("fault_inner_race", None),
        ("anomalyx", None),
    ],
)
def test_a_folder_below_test_labels_by_a_common_word_alone_or_with_a_number(tmp_path, name, label):
    touch(tmp_path, f"drill/1/test/day 1/{name}/deep/x.wav")
    [clip] = folder.list_clips(str(tmp_path))
    assert clip.label == label
    lines, warning = folder.taken_for([clip], tmp_path)
    if label is None:
        assert lines == ["test/day 1: 1 without a label"]
        assert warning.startswith("1 test clips have no label (drill/1/test/day 1): to measure with them, call")
    else:
        assert lines == [f"test/day 1/{name}: 1 {'anomalous' if label else 'normal'}"] and warning is None


def test_anomalies_in_a_folder_of_train_are_refused_once(tmp_path):
    touch(tmp_path, *(f"drill/1/train/{name}/{i}.wav" for name in ("abnormal", "normal") for i in range(3)))
    misfits = []
    assert [clip.label for clip in folder.list_clips(str(tmp_path), misfits=misfits)] == [0, 0, 0]
    assert len(misfits) == 1 and misfits[0].startswith(f"{tmp_path}/drill/1/train/abnormal: an anomaly among")


def test_machine_types_filter_and_a_missing_one_is_told(tmp_path):
    touch(tmp_path, "drill/1/train/a.wav", "saw/1/train/a.wav")
    assert [clip.machine_type for clip in folder.list_clips(str(tmp_path), machine_types=["saw"])] == ["saw"]
    with pytest.raises(UserError, match="No machine type lathe in .*: it holds drill, saw"):
        folder.list_clips(str(tmp_path), machine_types=["saw", "lathe"])


def test_nothing_found_says_what_was_expected_and_names_zips(tmp_path):
    for raw in (tmp_path, tmp_path / "missing", tmp_path / "missing.csv"):
        with pytest.raises(UserError, match="expected a manifest.csv with the columns path,machine_type"):
            folder.list_clips(str(raw))
    touch(tmp_path, "a.zip", "b.zip")
    with pytest.raises(UserError, match=r"\(a.zip, b.zip lie there: unzip them first\)"):
        folder.list_clips(str(tmp_path))


@pytest.mark.parametrize("name", ["Lüfter", "चक्की", "ปั๊ม", "насос 2", "ポンプ", "mașină"])
def test_names_of_any_language_are_names_however_their_accents_are_written(tmp_path, name):
    for form, folder_of in (("NFC", "a"), ("NFD", "b")):
        written = unicodedata.normalize(form, name)
        touch(tmp_path / folder_of, f"tree/{written}/{written}/train/x.wav", "y.wav")
        [clip] = folder.list_clips(str(tmp_path / folder_of / "tree"))
        assert clip.machine == (unicodedata.normalize("NFC", name),) * 2 and os.path.isfile(clip.path)
        (tmp_path / folder_of / "manifest.csv").write_text(f"{HEADER}y.wav,{written},{written},train,0\n")
        [clip] = folder.list_clips(str(tmp_path / folder_of))
        assert clip.machine == (unicodedata.normalize("NFC", name),) * 2
        touch(tmp_path / folder_of, f"raw/dev_data/{written}/train/normal_id_00_0.wav")
        [clip] = dcase2020.list_clips(
            str(tmp_path / folder_of / "raw"), machine_types=[unicodedata.normalize("NFC", name)]
        )
        assert clip.machine_type == unicodedata.normalize("NFC", name) and os.path.isfile(clip.path)


@pytest.mark.parametrize("name", ["a/b", "a\u200b", "´", "a;b", "a\tb"])
def test_what_is_no_letter_is_refused(tmp_path, name):
    touch(tmp_path, "y.wav")
    (tmp_path / "manifest.csv").write_text(f"{HEADER}y.wav,{name},1,train,0\n")
    with pytest.raises(UserError, match="the machine type is .* expected letters"):
        folder.list_clips(str(tmp_path))

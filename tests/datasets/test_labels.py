"""Lists of labels, and labels in names."""

import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets.labels import label_in_name, read_label_list


def test_the_list_of_2020_is_read_row_by_row(tmp_path):
    path = tmp_path / "eval_data_list.csv"
    path.write_text(
        "fan\nid_01_0.wav,normal_id_01_7.wav,0\nid_01_1.wav,anomaly_id_01_3.wav,1\n"
        "\n , ,\npump,,\nid_01_0.wav,anomaly_id_01_9.wav,1\n  \n"
    )
    assert read_label_list(path) == {"fan": {"id_01_0": 0, "id_01_1": 1}, "pump": {"id_01_0": 1}}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("normal_id_00_1.wav", 0),
        ("section_00_source_test_anomaly_0001.wav", 1),
        ("anomaly/1.wav", 1),
        ("id_00_1.wav", None),
        ("abnormal_1.wav", None),
    ],
)
def test_labels_in_names(name, label):
    assert label_in_name(name) == label


def test_the_list_of_2021_holds_labels_in_its_second_names(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("fan\nsection_03_source_test_0000.wav,section_03_source_test_anomaly_0000.wav\n")
    assert read_label_list(path) == {"fan": {"section_03_source_test_0000": 1}}


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is empty"),
        ("id_01_0.wav,normal_id_01_0.wav,0\n", "line 1 is no row"),
        ("fan\nid_01_0.wav,normal_id_01_0.wav,2\n", "line 2 is no row"),
        ("fan\nid_01_0.wav,unknown.wav\n", "line 2 is no row"),
        ("fan\na,b,0,1\n", "line 2 is no row"),
        ("fan\nid_01_0.wav,normal_id_01_0.wav,1\n", "line 2 gives id_01_0.wav two labels"),
        ("fan\n\na.wav,b.wav,0\na.flac,c.wav,1\n", r"line 4 lists a\.flac a second time"),
    ],
)
def test_malformed_label_lists_are_refused(tmp_path, text, message):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_label_list(path)

"""Score files and label lists, read and written, whole and broken."""

import pytest

from asd_jax.base.errors import UserError
from asd_jax.evaluation.score_files import ScoreSet, read_score_directory, write_scores

LIST_2020 = "fan\nid_01_0.wav,normal_id_01_7.wav,0\nid_01_1.wav,anomaly_id_01_3.wav,1\npump\nid_01_0.wav,a.wav,1\n"


def test_scores_are_written_sorted_and_read_back_exactly(tmp_path):
    folder = tmp_path / "new" / "scores"
    write_scores(folder / "anomaly_score_fan_id_00.csv", [("normal_b.wav", 1 / 3), ("anomaly_a,1.wav", -2.0)])
    assert (folder / "anomaly_score_fan_id_00.csv").read_text() == (
        '"anomaly_a,1.wav",-2.0\nnormal_b.wav,0.3333333333333333\n'
    )
    assert [path.name for path in folder.iterdir()] == ["anomaly_score_fan_id_00.csv"]
    assert read_score_directory(folder)[1] == [
        ScoreSet("fan", "00", None, ("anomaly_a,1", "normal_b"), (1, 0), (-2.0, 1 / 3))
    ]


def test_rows_of_blanks_are_no_rows(tmp_path):
    (tmp_path / "anomaly_score_fan_id_00.csv").write_text("\nnormal_b.wav,1\n  \n , \nanomaly_a.wav,2\n,\n")
    assert read_score_directory(tmp_path)[1] == [
        ScoreSet("fan", "00", None, ("anomaly_a", "normal_b"), (1, 0), (2.0, 1.0))
    ]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "anomaly_score_fan_id_00.csv"
    write_scores(path, [("normal_0.wav", 1.0)])

    def rows():
        yield "normal_0.wav", 2.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scores(path, rows())
    assert path.read_text() == "normal_0.wav,1.0\n"


@pytest.mark.parametrize(
    "name, expected",
    [
        ("anomaly_score_fan_id_00.csv", ("fan", "00", None)),
        ("anomaly_score_my_id_fan_id_03.csv", ("my_id_fan", "03", None)),
        ("anomaly_score_old.saw [2]_id_A.csv", ("old.saw [2]", "A", None)),
        ("anomaly_score_fan_section_02_target_test.csv", ("fan", "02", "target")),
        ("anomaly_score_a_section_b_id_c_section_02_source_test.csv", ("a_section_b_id_c", "02", "source")),
    ],
)
def test_machine_section_and_domain_come_from_the_file_name(tmp_path, name, expected):
    write_scores(tmp_path / name, [("normal_0.wav", 1.0)])
    [scores] = read_score_directory(tmp_path)[1]
    assert (scores.machine_type, scores.machine_id, scores.domain) == expected


def test_decisions_are_matched_by_name(tmp_path):
    write_scores(
        tmp_path / "anomaly_score_fan_section_00_source_test.csv", [("normal_0.wav", 1.0), ("anomaly_1.wav", 2)]
    )
    (tmp_path / "decision_result_fan_section_00_source_test.csv").write_text("normal_0.wav,0\nanomaly_1.wav,1\n")
    [scores] = read_score_directory(tmp_path)[1]
    assert (scores.names, scores.labels, scores.decisions) == (("anomaly_1", "normal_0"), (1, 0), (1, 0))


@pytest.mark.parametrize(
    "decisions, message",
    [
        ("normal_0.wav,0\n", "anomaly_1 is in only one of"),
        ("normal_0.wav,0\nanomaly_1.wav,2\n", "decides 2 for clip anomaly_1"),
    ],
)
def test_decisions_that_do_not_fit_are_refused(tmp_path, decisions, message):
    write_scores(
        tmp_path / "anomaly_score_fan_section_00_source_test.csv", [("normal_0.wav", 1.0), ("anomaly_1.wav", 2)]
    )
    (tmp_path / "decision_result_fan_section_00_source_test.csv").write_text(decisions)
    with pytest.raises(UserError, match=message):
        read_score_directory(tmp_path)


def test_a_label_list_says_what_names_do_not(tmp_path):
    write_scores(tmp_path / "anomaly_score_fan_id_01.csv", [("id_01_1.flac", 5.0), ("id_01_0.flac", 4.0)])
    write_scores(tmp_path / "anomaly_score_pump_id_01.csv", [("id_01_0.wav", 6.0)])
    write_scores(
        tmp_path / "anomaly_score_fan_id_00.csv", [("normal_id_00_0.wav", 3.0)]
    )  # development: not in the list
    labels_csv = tmp_path / "eval_data_list.csv"
    labels_csv.write_text(LIST_2020)
    found = {(s.machine_type, s.machine_id): s.labels for s in read_score_directory(tmp_path, labels_csv)[1]}
    assert found == {("fan", "01"): (0, 1), ("pump", "01"): (1,), ("fan", "00"): (0,)}


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is empty"),
        ("normal_0.wav,1\nnormal_1.wav\n", r"line 2 is 'normal_1\.wav'"),
        ("normal_0.wav,high\n", "line 1 is"),
        ("normal_0.wav,1,2\n", "line 1 is"),
        (",1\n", "line 1 is"),
        ("normal_0.wav,1\nnormal_1.wav,nan\n", "line 2 gives nan"),
        ("normal_0.wav,-inf\n", "line 1 gives -inf"),
        ("normal_0.wav,1\nnormal_0.flac,2\n", r"line 2 names normal_0\.flac a second time"),
        ("id_00_0.wav,1\n", "id_00_0 in .* has no label: give the list"),
    ],
)
def test_bad_score_files_are_refused(tmp_path, text, message):
    (tmp_path / "anomaly_score_fan_id_00.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_score_directory(tmp_path)


def test_files_that_are_no_text_or_not_there_are_refused(tmp_path):
    (tmp_path / "anomaly_score_fan_id_00.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        read_score_directory(tmp_path)
    with pytest.raises(UserError, match="There is no file"):
        read_score_directory(tmp_path, tmp_path / "no.csv")
    with pytest.raises(UserError, match="There is no folder"):
        read_score_directory(tmp_path / "nowhere")


def test_a_folder_without_fitting_score_files_is_refused(tmp_path):
    (tmp_path / "result.csv").write_text("fan\n")
    with pytest.raises(UserError, match="No score file"):
        read_score_directory(tmp_path)
    (tmp_path / "anomaly_score_fan.csv").write_text("normal_0.wav,1\n")
    with pytest.raises(UserError, match="does not fit the layout"):
        read_score_directory(tmp_path)


def test_clips_and_list_must_cover_each_other(tmp_path):
    labels_csv = tmp_path / "list.csv"
    labels_csv.write_text(LIST_2020)
    write_scores(tmp_path / "anomaly_score_fan_id_01.csv", [("id_01_0.wav", 1.0)])
    with pytest.raises(UserError, match="lacks 1 of the clips that .* lists, such as id_01_1"):
        read_score_directory(tmp_path, labels_csv)
    write_scores(tmp_path / "anomaly_score_fan_id_01.csv", [(f"id_01_{i}.wav", 1.0) for i in range(3)])
    with pytest.raises(UserError, match="id_01_2 in .* has no label: neither its name nor the fan rows"):
        read_score_directory(tmp_path, labels_csv)


def test_score_files_must_be_alike(tmp_path):
    for domain in ("source", "target"):
        write_scores(tmp_path / f"anomaly_score_fan_section_00_{domain}_test.csv", [("normal_0.wav", 1.0)])
    (tmp_path / "decision_result_fan_section_00_target_test.csv").write_text("normal_0.wav,0\n")
    with pytest.raises(UserError, match="target_test.csv has a decision_result .*source_test.csv does not"):
        read_score_directory(tmp_path)
    write_scores(tmp_path / "anomaly_score_fan_id_00.csv", [("normal_0.wav", 1.0)])
    with pytest.raises(UserError, match="id_00.csv is called as .* of dcase2020 and .*source_test.csv is not"):
        read_score_directory(tmp_path)

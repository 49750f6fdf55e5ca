"""The challenge's result files, the table and the dictionary of results."""

import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS
from asd_jax.evaluation.results import evaluate, evaluate_directory, format_table, results_table, write_result_csv
from asd_jax.evaluation.score_files import ScoreSet, write_scores
from asd_jax.measures import metrics

DCASE2020, DCASE2021 = DATASETS["dcase2020"], DATASETS["dcase2021"]
HARMONIC = DCASE2021.measures
LABELS = (0, 0, 1, 1)
PERFECT, HALF, REVERSED = (1, 2, 3, 4), (1, 1, 1, 1), (4, 3, 2, 1)


def score_set(machine_type, machine_id, domain, scores, decisions=None):
    return ScoreSet(machine_type, machine_id, domain, ("a", "b", "c", "d"), LABELS, scores, decisions)


def test_result_csv_of_2020(tmp_path):
    results = evaluate(
        DCASE2020,
        [
            score_set("pump", "01", None, HALF),
            score_set("fan", "02", None, HALF),
            score_set("fan", "00", None, PERFECT),
        ],
    )
    write_result_csv(results, tmp_path / "result.csv")
    assert (tmp_path / "result.csv").read_text() == (
        "fan\nid,AUC,pAUC\n00,1.0,1.0\n02,0.5,0.5\nAverage,0.75,0.75\n\n"
        "pump\nid,AUC,pAUC\n01,0.5,0.5\nAverage,0.5,0.5\n\n"
    )


def test_result_csv_of_2021_with_decisions(tmp_path):
    results = evaluate(
        DCASE2021,
        [
            score_set("fan", "00", "target", HALF, (1, 0, 1, 0)),
            score_set("fan", "01", "source", PERFECT, (0, 0, 1, 1)),
            score_set("fan", "00", "source", PERFECT, (0, 0, 1, 1)),
        ],
    )
    write_result_csv(results, tmp_path / "result.csv")
    text = (tmp_path / "result.csv").read_text()
    lines = text.splitlines()
    assert lines[:5] == [
        "fan",
        "section,domain,AUC,pAUC,precision,recall,F1 score",
        "00,source,1.0,1.0,1.0,1.0,1.0",
        "01,source,1.0,1.0,1.0,1.0,1.0",
        "00,target,0.5,0.5,0.5,0.5,0.5",
    ]
    assert lines[5].startswith("arithmetic mean,,0.83333")
    assert lines[6].startswith("harmonic mean,,0.75,0.75")
    assert lines[7:9] == ["", ",,AUC,pAUC,precision,recall,F1 score"]
    assert lines[9].startswith('"arithmetic mean over all machine types, sections, and domains",,0.83333')
    assert lines[10].startswith('"harmonic mean over all machine types, sections, and domains",,0.75')
    assert lines[11:] == ["", "official score,,0.75"]


def test_without_decisions_there_are_no_columns_for_them(tmp_path):
    results = evaluate(DCASE2021, [score_set("fan", "00", "source", PERFECT)])
    assert results.columns == ("AUC", "pAUC")
    write_result_csv(results, tmp_path / "result.csv")
    assert (tmp_path / "result.csv").read_text().startswith("fan\nsection,domain,AUC,pAUC\n00,source,1.0,1.0\n")


def test_means_over_all_weigh_rows_not_machine_types():
    results = evaluate(
        DCASE2020,
        [
            score_set("fan", "00", None, PERFECT),
            score_set("fan", "01", None, PERFECT),
            score_set("pump", "00", None, REVERSED),
        ],
    )
    assert results.means.arithmetic[0] == pytest.approx(2 / 3)
    assert results.machine_means["pump"].arithmetic[0] == 0
    lowest = metrics.pauc(LABELS, REVERSED)
    assert results.official_score == pytest.approx((4 + lowest) / 6)
    assert HARMONIC.official_score([row.values for row in results.rows]) < 1e-14


def test_a_set_of_one_class_is_named():
    with pytest.raises(UserError, match="Scores of fan 00 target: .* all 1 are normal"):
        evaluate(DCASE2021, [ScoreSet("fan", "00", "target", ("a",), (0,), (1.0,))])


def test_table_is_aligned():
    assert format_table(["type", "AUC"], [["fan", 1.0], ["gearbox", 0.04321]]).splitlines() == [
        "type        AUC",
        "-------  ------",
        "fan      100.00",
        "gearbox    4.32",
    ]


def test_folder_to_table(tmp_path):
    write_scores(tmp_path / "anomaly_score_fan_id_00.csv", [("normal_0.wav", 1.0), ("anomaly_0.wav", 2.0)])
    write_scores(tmp_path / "anomaly_score_fan_id_02.csv", [("normal_0.wav", 2.0), ("anomaly_0.wav", 2.0)])
    table = results_table(evaluate_directory(tmp_path)).splitlines()
    assert table[0].split() == ["machine", "type", "ID", "AUC", "pAUC"]
    assert table[2].split() == ["fan", "00", "100.00", "100.00"]
    assert table[4].split() == ["fan", "arithmetic", "mean", "75.00", "75.00"]
    assert table[-1] == "official score: 75.00"

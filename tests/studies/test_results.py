"""Means of paper 1's results, and its table, against known values."""

import csv

import pytest

from asd_jax.studies.paper1_results import MeanAuc, RunResult, RunResults, Setting, write_results, write_table

MAF, BASELINE, SET_C, SIZE = (
    Setting("maf"),
    Setting("dcase2020_baseline"),
    Setting("proxy_outlier", "c"),
    Setting("proxy_outlier", "c", 4),
)
IDS = {"fan": ("00", "02"), "rotor": ("07",)}


def of(setting, values, machine_type="fan", ids=("00", "02")):
    """`values` is one row of AUCs in percent for each run; pAUCs are half of them."""
    return [
        RunResult((machine_type, one), setting, run, auc / 100, auc / 200)
        for run, row in enumerate(values)
        for one, auc in zip(ids, row, strict=True)
    ]


def test_a_score_is_the_mean_over_types_of_the_mean_over_ids_by_run():
    found = [*of(MAF, [[60, 80], [70, 80]]), *of(MAF, [[50], [55]], "rotor", ["07"])]
    results = RunResults(IDS, found)
    assert results.score(MAF, ["fan"]) == pytest.approx((72.5, 5 / 2**0.5))
    assert results.score(MAF, ["fan"], "pauc") == pytest.approx((36.25, 2.5 / 2**0.5))
    assert results.score(MAF, ["fan", "rotor"]) == pytest.approx((62.5, 5 / 2**0.5))
    assert str(MeanAuc(72.5, 3.54)) == "72.50 ± 3.54" and str(MeanAuc(72.5, 0.0)) == "72.50"


def test_one_run_has_no_deviation():
    assert RunResults(IDS, of(MAF, [[60, 80]])).score(MAF, ["fan"]) == pytest.approx((70, 0))


@pytest.mark.parametrize("left_out", range(4))
def test_a_score_needs_every_id_in_every_run(left_out):
    found = of(MAF, [[60, 80], [70, 80]])
    del found[left_out]
    results = RunResults(IDS, found)
    assert results.score(MAF, ["fan"]) is None and results.score(SET_C, ["fan"]) is None


def test_results_are_written_line_by_line(tmp_path):
    write_results(tmp_path / "r.csv", [*of(MAF, [[60]], ids=["00"]), *of(SIZE, [[50]], ids=["00"])])
    assert (tmp_path / "r.csv").read_text().splitlines() == [
        "machine_type,machine_id,detector,outlier_set,size,run,AUC,pAUC",
        "fan,00,maf,,,0,0.6,0.3",
        "fan,00,proxy_outlier,c,4,0,0.5,0.25",
    ]


def test_the_table_has_whole_sets_and_the_published_figures_of_the_same_ids(tmp_path):
    found = [
        *of(BASELINE, [[60, 80], [70, 80]]),
        *of(BASELINE, [[50], [55]], "rotor", ["07"]),
        *of(SET_C, [[90, 80], [90, 80]]),
        *of(SIZE, [[90, 80], [90, 80]]),
    ]
    text = write_table(str(tmp_path), RunResults(IDS, found), "About.")
    assert text == (tmp_path / "table_1.md").read_text()
    lines = text.splitlines()
    assert lines[lines.index("AUC in %") + 2 :][:6] == [
        "| detector | fan | rotor | average |",
        "| --- | ---: | ---: | ---: |",
        "| DCASE 2020 baseline | 72.50 ± 3.54 | 52.50 ± 3.54 | 62.50 ± 3.54 |",
        "| DCASE 2020 baseline (published) | 63.07 | - | - |",
        "| (c) both | 85.00 | - | - |",
        "",
    ]
    assert "| DCASE 2020 baseline (published) | 52.33 | - | - |" in lines[lines.index("pAUC in %") :]
    assert lines[-1] == "About."
    with open(tmp_path / "table_1.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["detector"], row["measure"]) for row in rows[:3]] == [
        ("DCASE 2020 baseline", "AUC"),
        ("DCASE 2020 baseline (published)", "AUC"),
        ("(c) both", "AUC"),
    ]
    assert float(rows[0]["fan"]) == pytest.approx(72.5) and float(rows[0]["fan std"]) == pytest.approx(3.5355, abs=1e-3)
    assert rows[2]["rotor"] == rows[2]["average"] == ""


def test_there_is_no_published_mean_over_ids_of_which_one_is_unknown(tmp_path):
    found = of(BASELINE, [[60, 80]], ids=["00", "01"])
    text = write_table(str(tmp_path), RunResults({"fan": ("00", "01")}, found), "")
    assert "| DCASE 2020 baseline (published) | - |" in text


def test_one_machine_type_needs_no_average(tmp_path):
    text = write_table(str(tmp_path), RunResults({"fan": ("00", "02")}, of(MAF, [[60, 80]])), "")
    assert "| detector | fan |\n" in text and "| MAF | 70.00 |\n" in text

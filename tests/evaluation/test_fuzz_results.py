"""Whatever score files hold: they are measured, or one line says what is wrong and where."""

import pathlib
import tempfile

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from asd_jax.base.errors import is_one_line
from asd_jax.evaluation.results import evaluate_directory, results_table, write_result_csv
from tests.fuzzing import guarded, told

pytestmark = guarded

TYPES = st.sampled_from(["fan", "a_id_b", "é", "\x1b[2J", "\udcff", "a\nb", " ", "_section_00"])
FILES = st.sampled_from(
    ["anomaly_score_{}_id_00.csv", "anomaly_score_{}_id_{}.csv", "anomaly_score_{}.csv", "decision_result_{}_id_00.csv"]
    + ["anomaly_score_{}_section_00_source_test.csv", "decision_result_{}_section_00_source_test.csv"]
)
NAMES = st.sampled_from(
    ["normal_id_00_0.wav", "anomaly_id_00_1.wav", "id_00_2.wav", "", "x" * 140_000, '"', "\x1b", "a\r"]
)
NUMBERS = st.one_of(
    st.sampled_from(["0", "1", "-1e308", "1e308", "1e-320", "nan", "inf", "1e999", "1_0", "٣", "", " 2 ", "9" * 5000]),
    st.floats(allow_nan=False).map(str),
)
ROWS = st.one_of(st.tuples(NAMES, NUMBERS).map(",".join), st.text(max_size=6))
TABLES = st.lists(ROWS, max_size=5).map(lambda rows: "\n".join(rows).encode(errors="surrogatepass"))
GOOD = b"normal_id_00_0.wav,1e308\nanomaly_id_00_1.wav,-1e308\n"
CONTENTS = st.one_of(TABLES, TABLES.map(lambda text: GOOD + text), st.just(GOOD), st.binary(max_size=40))
LABELS = st.one_of(st.none(), st.just(b"fan\nid_00_2.wav,normal_id_00_2.wav,0\n"), TABLES)


@given(st.lists(st.tuples(FILES, TYPES, CONTENTS), min_size=1, max_size=3), LABELS)
@example([("anomaly_score_{}_id_00.csv", "\udcff", GOOD)], None)
@example([("anomaly_score_{}_id_00.csv", "\x1b[2J", GOOD)], None)
@example([("anomaly_score_{}_id_00.csv", "fan", GOOD)], None)
def test_score_files_are_measured_or_told(files, labels):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for template, machine_type, content in files:
            (folder / template.format(machine_type, "01")).write_bytes(content)
        labels_csv = None
        if labels is not None:
            labels_csv = folder / "eval_data_list.csv"
            labels_csv.write_bytes(labels)
        results = told(evaluate_directory, folder, labels_csv, names=[str(folder), "Scores of "])
        if results:
            assert all(0 <= value <= 1 for row in results.rows for value in row.values)
            assert np.isfinite(results.official_score)
            assert all(is_one_line(line) for line in results_table(results).splitlines())
            write_result_csv(results, folder / "result.csv")

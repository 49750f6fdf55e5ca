"""Scores the test clips of a trained workdir and measures them; or measures score files of any system.

python tools/evaluate.py --workdir=W [--score_hop=15]
python tools/evaluate.py --scores=DIR [--labels=eval_data_list.csv]
"""

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
import os
import shlex

from absl import flags

from asd_jax.base import cli
from asd_jax.base.errors import UserError

_WORKDIR = flags.DEFINE_string("workdir", None, "What tools/train.py wrote.")
_SCORES = flags.DEFINE_string(
    "scores", None, "Folder of anomaly_score_*.csv files of any system, to be measured alone."
)
_RESULT = flags.DEFINE_string(
    "result", None, "With --scores: the file of results; DIR/result.csv where there is none yet."
)
_SCORE_HOP = flags.DEFINE_integer(
    "score_hop", None, "With --workdir: frames between the windows of a clip; the recipe's if unset."
)
_LABELS = flags.DEFINE_string("labels", None, "eval_data_list.csv, where the clips' names do not say their labels.")


def main() -> None:
    """Imports late: measuring score files needs neither JAX nor TensorFlow."""
    if (_WORKDIR.value is None) == (_SCORES.value is None):
        raise UserError("Give either --workdir=W (score and measure) or --scores=DIR (measure score files).")
    if _SCORES.value:
        from asd_jax.evaluation.results import evaluate_directory, results_table, write_result_csv

        results = evaluate_directory(_SCORES.value, _LABELS.value)
        print(results_table(results))
        path = _RESULT.value or os.path.join(_SCORES.value, "result.csv")
        if not _RESULT.value and os.path.exists(path):
            print(f"Kept {path}, which was there already; --result=FILE writes elsewhere or replaces it")
        else:
            write_result_csv(results, path)
            print(f"Wrote {path}")
    else:
        from asd_jax.evaluation.evaluate import evaluate_workdir

        print(evaluate_workdir(_WORKDIR.value, _LABELS.value, score_hop=_SCORE_HOP.value))
        print(f"Next: python tools/report.py --workdir={shlex.quote(_WORKDIR.value)} --out=report.html")


if __name__ == "__main__":
    cli.run(main)

"""One self-contained HTML page of trained workdirs: results, pictures, and clips to see and hear.

python tools/report.py --workdir=W [--workdir=W2 ...] --out=report.html [--raw_dir=RAW] [--machines=fan/00,fan/02]
"""

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
from absl import flags
from etils import epath

from asd_jax.base import cli
from asd_jax.base.errors import UserError

_WORKDIR = flags.DEFINE_multi_string("workdir", None, "What tools/train.py wrote; several stand side by side.")
_OUT = flags.DEFINE_string("out", None, "The HTML file to write.")
_RAW_DIR = flags.DEFINE_string("raw_dir", None, "The recordings that were prepared, for players; without it, no sound.")
_MACHINES = flags.DEFINE_list("machines", [], "type/ID of the machines to show; the first ones by default.")
_LABELS = flags.DEFINE_string("labels", None, "eval_data_list.csv, where the clips' names do not say their labels.")
_TARGET_FPR = flags.DEFINE_float("target_fpr", 0.1, "Share of normal recordings that may be called anomalous.")
_SCORE_HOP = flags.DEFINE_integer("score_hop", None, "Frames between the windows of a clip; the recipe's if unset.")
flags.mark_flags_as_required(["workdir", "out"])


def main() -> None:
    """Imports late: a mistake on the command line is reported at once."""
    if not 0 < _TARGET_FPR.value < 1:
        raise UserError(f"--target_fpr={_TARGET_FPR.value} was given: expected a share between 0 and 1, such as 0.1.")
    from asd_jax.report.page import write_page

    notes = write_page(
        _WORKDIR.value,
        _OUT.value,
        _MACHINES.value,
        _RAW_DIR.value,
        _LABELS.value,
        _TARGET_FPR.value,
        _SCORE_HOP.value,
    )
    print(*notes, sep="\n", end="\n" if notes else "")
    print(f"Wrote {_OUT.value}, {epath.Path(_OUT.value).stat().length / 1e6:.1f} MB: open it in any browser")


if __name__ == "__main__":
    cli.run(main)

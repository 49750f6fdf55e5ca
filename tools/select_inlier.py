"""Chooses the inlier model on the development machines: `python tools/select_inlier.py --workdir=W [--workdir=W2 ...]`.

Tries the grid of paper 2 (GMM and LOF, p = 1, 2, 4 ... 64) on the test clips of the development IDs, by the harmonic
mean of AUC and pAUC over IDs and runs; tools/evaluate.py and tools/score.py use the choice from then on. Several
workdirs that differ in lambda (config.product_weight) are compared in the same way. Run tools/evaluate.py on each of
them before.
"""

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
from absl import flags

from asd_jax.base import cli

_WORKDIRS = flags.DEFINE_multi_string("workdir", None, "What tools/train.py wrote; may be given several times.")
flags.mark_flag_as_required("workdir")


def main() -> None:
    """Imports late: a mistake on the command line is reported at once."""
    from asd_jax.evaluation.select_inlier import select

    print(select(_WORKDIRS.value))


if __name__ == "__main__":
    cli.run(main)

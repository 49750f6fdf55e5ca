"""Says whether a training can start here, and what to do if not: `python tools/doctor.py [--data_dir=D] [--workdir=W]`.

Every line is ok, warning (a training can start) or wrong; the exit code is 1 where something is wrong.
"""

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
from absl import flags

from asd_jax.base import cli

_DATA_DIR = flags.DEFINE_string("data_dir", None, "What tools/prepare.py wrote; what the workdir names by default.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Of a training that is to begin or to go on.")


def main() -> int:
    """Prints the lines as they are found: some take seconds."""
    from asd_jax.doctor.examine import examine, format_line
    from asd_jax.doctor.finding import WARNING, WRONG

    levels = []
    for finding in examine(_DATA_DIR.value, _WORKDIR.value):
        print(format_line(finding), flush=True)
        levels.append(finding.level)
    wrong = levels.count(WRONG)
    print(f"{wrong} wrong, {levels.count(WARNING)} warnings: a training can{'not' if wrong else ''} start.")
    return 1 if wrong else 0


if __name__ == "__main__":
    cli.run(main)

"""Trains and measures the detectors of a paper's tables, and writes the tables beside the published figures.

python tools/reproduce.py --paper=2 --data_dir=D --out=O [--machine_types=fan,pump] [--rows=proposed,without_mixup]
    [--epochs=300] [--runs=1] [--override=width=0.25,depth=0.4]

What is finished is kept when the command is run again; a training that was stopped goes on.
"""

import logging
import pathlib
import sys

from absl import flags

from asd_jax import cli

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))  # for configs/

_PAPER = flags.DEFINE_enum("paper", None, ["2"], "Whose tables.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "What tools/prepare.py wrote, with --features=paper2.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder to write to; one that exists is gone on with.", required=True)
_TYPES = flags.DEFINE_list("machine_types", [], "Target machine types; all that have labelled test clips.")
_ROWS = flags.DEFINE_list("rows", [], "Rows of the tables, such as proposed,without_mixup; all.")
_EPOCHS = flags.DEFINE_integer("epochs", None, "Of every training; those of the recipes.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", 1, "Independent trainings of every detector.", lower_bound=1)
_OVERRIDE = flags.DEFINE_list("override", [], "key=value: other values of the recipes.")


def main() -> int:
    """Exits with 1 where a part failed."""
    from asd_jax import study

    logging.getLogger().setLevel(logging.WARNING)
    overrides = dict(map(study.parse_override, _OVERRIDE.value)) | {"num_runs": _RUNS.value}
    if _EPOCHS.value:
        overrides["num_epochs"] = _EPOCHS.value
    opened = study.open_study(_DATA_DIR.value, _OUT.value, _TYPES.value, _ROWS.value, overrides)
    return 0 if study.reproduce(opened) else 1


if __name__ == "__main__":
    cli.run(main)

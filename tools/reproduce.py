"""Trains and measures the detectors of a paper's tables and figures, and writes these.

python tools/reproduce.py --paper=1 --data_dir=D --out=O [--baseline_data_dir=B] [--machine_types=fan,pump]
    [--machine_ids=00,02] [--detectors=proxy_outlier,maf] [--outlier_sets=a,c] [--sizes=figure4] [--epochs=100]
    [--runs=3] [--override=batch_size=32,maf.num_epochs=20]
python tools/reproduce.py --paper=2 --data_dir=D --out=O [--machine_types=fan,pump] [--rows=proposed,without_mixup]
    [--epochs=300] [--runs=1] [--override=network.width=0.25,network.depth=0.4]

What is finished is kept when the command is run again; a training that was stopped goes on.
"""

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
import importlib
import logging
import pathlib
import sys
from typing import Any

from absl import flags

from asd_jax.base import cli, locks
from asd_jax.base.errors import UserError
from asd_jax.studies import tables

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))  # for configs/

_RECIPES = ("autoencoder", "ddcsad", "maf", "multitask", "parallel", "proxy_outlier")
_PAPER = flags.DEFINE_enum("paper", None, ["1", "2"], "Whose experiments.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "What tools/prepare.py wrote, with --features=paper1 or paper2.")
_OUT = flags.DEFINE_string("out", None, "Folder to write to; a study in one that exists is continued.")
_TYPES = flags.DEFINE_list("machine_types", [], "Target machine types; all that have labelled test clips.")
_EPOCHS = flags.DEFINE_integer("epochs", None, "Of every training; those of the recipes.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", None, "Independent trainings of every detector; 3 and 1.", lower_bound=1)
_OVERRIDE = flags.DEFINE_list("override", [], "key=value, or detector.key=value: other values of the recipes.")
_BASELINE_DATA = flags.DEFINE_string(
    "baseline_data_dir",
    "",
    "Paper 1: what tools/prepare.py wrote with --features=dcase2020_baseline, for that detector.",
)
_IDS = flags.DEFINE_list("machine_ids", [], "Paper 1: target machine IDs; all of the development part.")
_DETECTORS = flags.DEFINE_list(
    "detectors", [], "Paper 1: of autoencoder, dcase2020_baseline, maf, proxy_outlier; all that the data allow."
)
_SETS = flags.DEFINE_list("outlier_sets", [], "Paper 1: of a to f; all that are prepared.")
_SIZES = flags.DEFINE_list("sizes", [], "Paper 1: numbers of outliers of set c, or figure4 for the paper's; none.")
_ROWS = flags.DEFINE_list("rows", [], "Paper 2: rows of the tables, such as proposed,without_mixup; all.")
flags.mark_flags_as_required(["data_dir", "out"])

_OF_PAPER = {"1": (_BASELINE_DATA, _IDS, _DETECTORS, _SETS, _SIZES), "2": (_ROWS,)}


def main() -> int:
    """Exits with 1 where a part failed."""
    for paper, own in _OF_PAPER.items():
        for flag in own:
            if paper != _PAPER.value and flag.value:
                raise UserError(f"--{flag.name} is for --paper={paper}: leave it out.")
    tables.check_folder(_OUT.value)
    from asd_jax.devices.checkpoints import check_path
    from asd_jax.studies import grid

    check_path(_OUT.value)
    logging.getLogger().setLevel(logging.WARNING)
    overrides = dict(map(grid.parse_override, _OVERRIDE.value))
    overrides["num_runs"] = _RUNS.value or {"1": 3, "2": 1}[_PAPER.value]
    if _EPOCHS.value:
        overrides["num_epochs"] = _EPOCHS.value
    with locks.held(_OUT.value, "reproduction"):
        return 0 if _reproduce(overrides) else 1


def _reproduce(overrides: dict[str, Any]) -> bool:
    from asd_jax.studies import paper1, paper2

    recipes = {name: importlib.import_module(f"configs.{name}").get_config for name in _RECIPES}
    if _PAPER.value == "2":
        study = paper2.open_study(_DATA_DIR.value, _OUT.value, recipes, _TYPES.value, _ROWS.value, overrides)
        return paper2.reproduce(study)
    study = paper1.open_study(
        _DATA_DIR.value,
        _OUT.value,
        recipes,
        baseline_data_dir=_BASELINE_DATA.value,
        machine_types=_TYPES.value,
        machine_ids=_IDS.value,
        detectors=_DETECTORS.value,
        outlier_sets=_SETS.value,
        sizes=paper1.parse_sizes(_SIZES.value),
        overrides=overrides,
    )
    return paper1.reproduce(study)


if __name__ == "__main__":
    cli.run(main)

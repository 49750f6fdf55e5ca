"""Trains a detector: `python tools/train.py --config=configs/proxy_outlier.py --workdir=W --config.data_dir=D ...`."""

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
import logging
import shlex

from absl import flags
from ml_collections import config_flags

from asd_jax.base import cli

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The recipe; any value can be overridden by --config.KEY=VALUE."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for checkpoints and metrics; a training in one that exists is continued."
)
_COORDINATOR = flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0, for a training on many hosts.")
_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes train together, one on each host.")
_PROCESS = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")
flags.mark_flags_as_required(["config", "workdir"])


def main() -> None:
    """Imports late: a mistake on the command line is reported at once."""
    config = _CONFIG.value
    runs = config.num_runs  # what is wrong with the recipe's file shows here
    from asd_jax.devices import hosts

    logging.getLogger().setLevel(logging.WARNING)
    with hosts.joined(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value):
        from asd_jax.scoring.held_back import train_and_keep

        named = config_flags.get_override_values(flags.FLAGS["config"])
        train_and_keep(config, _WORKDIR.value, new_inlier=bool({"inlier", "inlier_p"} & named.keys()))
        print(f"Trained {runs} run(s). Wrote checkpoints/, metrics.jsonl, tensorboard/ to {_WORKDIR.value}")
        print(f"Next: python tools/evaluate.py --workdir={shlex.quote(_WORKDIR.value)}")


if __name__ == "__main__":
    cli.run(main)

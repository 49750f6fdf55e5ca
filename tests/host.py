"""One of two processes that train together, for tests: `python -m tests.host PORT PROCESS CONFIG:WORKDIR ...`.

Every CONFIG is a JSON file. The trainings follow one another.
"""

import contextlib
import json
import pathlib

import ml_collections

from asd_jax.base import cli
from asd_jax.devices import hosts

hosts._HEARTBEAT = 15  # seconds: the tests need not wait for a minute, and a busy machine is not lost


def main(words: list[str]) -> None:
    port, process, *trainings = words
    with hosts.joined(f"localhost:{port}", 2, int(process)):
        from asd_jax.scoring.held_back import (
            train_and_keep,  # as in tools/train.py: the processes are joined before anything else
        )

        for training in trainings:
            config, workdir = training.split(":")
            with contextlib.suppress(SystemExit):  # of one that is stopped
                train_and_keep(ml_collections.ConfigDict(json.loads(pathlib.Path(config).read_text())), workdir)


if __name__ == "__main__":
    cli.run(main, takes_words=True)

"""One process of a training over several, for tests: `python -m tests.host PORT PROCESS CONFIG=WORKDIR ...`.

Every CONFIG is a JSON file. The trainings follow one another.
"""

import json
import sys

import ml_collections

from asd_jax import cli, hosts

hosts._HEARTBEAT = 5  # seconds: the tests need not wait for a minute


def main() -> None:
    _, port, process, *trainings = sys.argv
    with hosts.joined(f"localhost:{port}", 2, int(process)):
        from asd_jax.train import train

        for training in trainings:
            config, workdir = training.split("=")
            with open(config) as file:
                train(ml_collections.ConfigDict(json.load(file)), workdir)
        print("All trained")


if __name__ == "__main__":
    cli._tell(main)

"""Kills commands at random moments, again and again: `python tests/kill_at_random.py --kills=200 [--what=train,...]`.

Every command is first run undisturbed. Then it runs in a fresh place and is killed (SIGKILL, with its children), and
run again, until it has been killed so many times; where it ends before, it begins again in another fresh place. After
every kill all files are read that a reader may come upon: they are whole or absent. A command that ended must have left
the same as the undisturbed one, bit for bit, but for what `_LEFT_OUT` and `_NOT_COMPARED` name.
"""

import argparse
import contextlib
import csv
import fnmatch
import io
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import soundfile

os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["TF_ENABLE_ONEDNN_OPTS"] = "3", "0"
ROOT = pathlib.Path(__file__).parent.parent
_IMPORTS = 0.1
"""Share of the kills that fall anywhere, also while packages are imported; the others once the command has written."""
_SMALL = {
    "network.blocks": "(1,1,1)",
    "num_epochs": 6,
    "network.width": 4,
    "window": 32,
    "batch_size": 8,
    "held_back": 3,
    "checkpoint_epochs": 1,
}
_LEFT_OUT = {
    "manifest.json": ["versions"],
    "metrics.json": ["scoring_seconds", "training_seconds"],
    "metrics.jsonl": ["seconds", "windows_per_second", "input_wait_fraction"],
}
"""Keys of times, and of how long something took."""
_NOT_COMPARED = ("*/tensorboard/*", "*/checkpoints/*", "*/dataset_info.json", "*/partial/*", "*.png", "*.svg")
"""Events and checkpoints say when they were written, so does a builder's description; the weights are compared."""


class Place:
    """A folder, the command that writes into it, and what it must look like in the end."""

    def __init__(self, command: Sequence[str], out: pathlib.Path, first: str) -> None:
        """`first`: pattern of a file, whose appearance says that the imports are over."""
        self.command, self.out, self.first = command, out, first

    def run(self, delay: float | None = None, after_first: bool = False) -> float | None:
        """Seconds to the end, or None where it was killed, `delay` seconds after its beginning or its first file."""
        began, waits = time.perf_counter(), after_first
        with open(self.out.with_suffix(".log"), "ab") as log:
            process = subprocess.Popen(
                [sys.executable, *self.command], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
            kill_at = None if delay is None or waits else began + delay
            while process.poll() is None:
                now = time.perf_counter()
                if waits and any(self.out.glob(self.first)):
                    waits, kill_at = False, now + delay
                if kill_at is not None and now >= kill_at:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    return None
                time.sleep(0.002)
        if process.returncode:
            raise SystemExit(f"{' '.join(self.command)} ended with {process.returncode}:\n{self.tail()}")
        return time.perf_counter() - began

    def tail(self) -> str:
        """The end of what the command said."""
        return self.out.with_suffix(".log").read_text(errors="replace")[-3000:]


def read_all(folder: pathlib.Path) -> dict[str, Any]:
    """What every file holds, by its path in the folder; an unfinished file or one that cannot be read raises.

    Files that only the writer reads, on its way, are passed over: names that begin with a dot, and Orbax's.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if (
            not path.is_file()
            or path.name.startswith(".")
            or any(fnmatch.fnmatch(f"/{name}", p) for p in _NOT_COMPARED)
        ):
            continue
        with contextlib.suppress(FileNotFoundError):  # the command that was killed removes nothing any more
            found[name] = _content(path)
    return found


def _content(path: pathlib.Path) -> Any:
    content = path.read_bytes()
    if path.suffix == ".json":
        return _without(json.loads(content), _LEFT_OUT.get(path.name, []))
    if path.suffix == ".jsonl":
        return [_without(json.loads(line), _LEFT_OUT[path.name]) for line in content.decode().splitlines()]
    if path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(content.decode())))
        assert rows and content.endswith(b"\n"), f"{path} is not whole"
        return rows
    if ".tfrecord" in path.name:
        return list(_records(path))
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name].tobytes() for name in arrays.files}
    return content


def _records(path: pathlib.Path) -> Iterator[dict[str, str]]:
    """The examples, whose fields are stored in an order that changes from process to process."""
    import tensorflow as tf

    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        fields = tf.train.Example.FromString(record).features.feature
        yield {name: str(fields[name]) for name in sorted(fields)}


def _without(value: Any, keys: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(one, keys) for key, one in value.items() if key not in keys}
    return [_without(one, keys) for one in value] if isinstance(value, list) else value


def weights(folder: pathlib.Path) -> dict[str, list[bytes]]:
    """The newest state of every run of every workdir in a folder, bit for bit."""
    import jax
    import orbax.checkpoint as ocp

    found = {}
    for run in sorted(folder.rglob("checkpoints/run_*")):
        with ocp.CheckpointManager(run) as manager:
            step = manager.latest_step()
            tree = manager.restore(step, args=ocp.args.StandardRestore())
        leaves = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]
        found[f"{run.relative_to(folder)} step {step}"] = leaves
    return found


def compare(name: str, out: pathlib.Path, reference: pathlib.Path) -> None:
    """Raises where the outputs differ, or where something unfinished is left."""
    left = [str(path) for path in out.rglob("*") if path.name.endswith(".tmp") or ".orbax-checkpoint-tmp" in path.name]
    assert not left, f"{name}: left over are {left}"
    mine, expected = (json.loads(json.dumps(read_all(folder), default=repr)) for folder in (out, reference))
    mine, expected = (_moved(one, folder) for one, folder in ((mine, out), (expected, reference)))
    assert mine.keys() == expected.keys(), f"{name}: only one has {sorted(mine.keys() ^ expected.keys())}"
    for path, content in expected.items():
        assert mine[path] == content, f"{name}: {path} differs:\n{str(mine[path])[:500]}\n{str(content)[:500]}"
    assert weights(out) == weights(reference), f"{name}: weights differ"


def _moved(content: dict, folder: pathlib.Path) -> dict:
    """The same with the folder's own name taken out: files name each other."""
    return json.loads(json.dumps(content).replace(str(folder), "OUT"))


def make_data(folder: pathlib.Path, clips: int) -> None:
    """Two machines of one type, in the layout of DCASE 2020, of two seconds of noise."""
    for number in range(clips):
        for machine_id in ("00", "01"):
            for split, label in (("train", "normal"), ("test", "normal"), ("test", "anomaly")):
                path = folder / "dev_data" / "saw" / split / f"{label}_id_{machine_id}_{number:08}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = [number, int(machine_id), len(split), len(label)]
                soundfile.write(path, np.random.default_rng(seed).uniform(-0.5, 0.5, 32000), 16000)


def places(folder: pathlib.Path, data: pathlib.Path, trained: pathlib.Path) -> dict[str, Any]:
    """Command -> a function from an empty folder to its `Place`."""
    cache = f"compilation_cache={folder / 'cache'}"
    target = {"data_dir": data, "machine_type": "saw", "machine_id": "00", "outlier_set": "a"} | _SMALL
    overrides = [f"--config.{key}={value}" for key, value in target.items()]
    recipe = "--config=configs/proxy_outlier.py:quicktest"

    def train(out: pathlib.Path) -> Place:
        return Place(
            ["tools/train.py", recipe, f"--workdir={out}", *overrides, f"--config.{cache}"], out, "config.json"
        )

    def prepare(out: pathlib.Path) -> Place:
        command = ["tools/prepare.py", "--dataset=dcase2020", f"--raw_dir={folder / 'raw'}", f"--data_dir={out}"]
        return Place([*command, "--features=paper2", "--workers=1"], out, "**/*.tfrecord")

    def reproduce(out: pathlib.Path) -> Place:
        command = ["tools/reproduce.py", "--paper=1", f"--data_dir={data}", f"--out={out}", "--runs=1", "--epochs=4"]
        options = ["--detectors=autoencoder", f"--override=batch_size=64,checkpoint_epochs=1,{cache}"]
        return Place([*command, *options], out, "**/config.json")

    def export(out: pathlib.Path) -> Place:
        return Place(["tools/export.py", f"--workdir={trained}", f"--out={out}", "--platforms=cpu"], out, "*")

    found = {"train": train, "prepare": prepare, "reproduce": reproduce}
    if (ROOT / "tools" / "export.py").exists():
        found["export"] = export
    else:
        print("export: left out, there is no tools/export.py")
    return found


def try_command(name: str, make: Any, folder: pathlib.Path, kills: int, rng: random.Random) -> None:
    """Runs a command undisturbed, and then with so many kills; raises where something is not as it should be."""
    reference = make(folder / f"{name}_reference")
    seconds = reference.run()
    warm = reference
    if kills > 5:  # with the programs compiled by now, fewer kills come too late
        warm = make(folder / f"{name}_warm")
        seconds = warm.run()
        compare(name, warm.out, reference.out)
    writes = _seconds_of_writing(warm.out)
    killed = ended = 0
    place = None
    while killed < kills or place:
        place = place or make(folder / f"{name}_{ended}")
        if killed == kills:
            delay, after_first = None, False
        elif rng.random() < _IMPORTS:
            delay, after_first = rng.uniform(0, seconds), False
        else:
            delay, after_first = rng.uniform(0, writes), True
        if place.run(delay, after_first) is None:
            killed += 1
            read_all(place.out)
        else:
            compare(name, place.out, reference.out)
            shutil.rmtree(place.out)
            place, ended = None, ended + 1
    print(
        f"{name}: killed {killed} times, {ended} times brought to its end and equal to the undisturbed one "
        f"({seconds:.1f} s, the last {writes:.1f} s after its first file)",
        flush=True,
    )


def _seconds_of_writing(out: pathlib.Path) -> float:
    times = [path.stat().st_mtime for path in out.rglob("*") if path.is_file()]
    return max(times) - min(times) + 0.3


def main() -> None:
    """Prints a line for every command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="of every command")
    parser.add_argument("--what", default="train,prepare,reproduce,export", help="commands")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=12, help="of each machine and label")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_data(folder / "raw", options.clips)
        data, trained = folder / "data", folder / "trained"
        prepares = ["tools/prepare.py", "--dataset=dcase2020", f"--raw_dir={folder / 'raw'}", f"--data_dir={data}"]
        if options.what != "prepare":
            Place(prepares, data, "*").run()
        commands = places(folder, data, trained)
        if "export" in options.what and "export" in commands:
            commands["train"](trained).run()
        for what in options.what.split(","):
            if what in commands:
                try_command(what, commands[what], folder, options.kills, random.Random(f"{options.seed} {what}"))


if __name__ == "__main__":
    main()

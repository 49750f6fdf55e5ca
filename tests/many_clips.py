"""Time and memory of the commands on many clips, by hand: `python tests/many_clips.py [--clips=1000,10000,100000]`.

The clips are short and made up, ten machine IDs of one type; training takes one of them with all others as outliers.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import soundfile

ROOT = pathlib.Path(__file__).parent.parent
WINDOW = 16  # frames, the fewest that the network takes
SAMPLES = (WINDOW - 1) * 512
LOG_MEL = WINDOW * 128 * 2  # bytes of a clip, which training holds
MACHINE_IDS = 10
_LINKS = 10_000  # of one file; file systems allow a few ten thousand


def write_clips(raw: pathlib.Path, clips: int) -> None:
    """Hard links, under the names of DCASE 2020, to a few files of noise."""
    folder = raw / "dev_data" / "saw" / "train"
    folder.mkdir(parents=True)
    for first in range(0, clips, _LINKS):
        source = raw / f"noise_{first}.wav"
        soundfile.write(source, np.random.default_rng(first).uniform(-0.5, 0.5, SAMPLES), 16000)
        for number in range(first, min(first + _LINKS, clips)):
            os.link(source, folder / f"normal_id_{number % MACHINE_IDS:02}_{number // MACHINE_IDS:08}.wav")


def measure(arguments: Sequence[str], until: bytes = b"") -> tuple[float, int]:
    """Runs a command to its end, or until it writes some bytes; returns seconds and the peak of its memory in bytes."""
    began = time.perf_counter()
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = b""
    while chunk := os.read(process.stdout.fileno(), 1 << 16):
        output += chunk
        if until and until in output[-len(chunk) - len(until) :]:
            process.kill()
            break
    seconds = time.perf_counter() - began
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if until not in output or (process.returncode and not until):
        raise SystemExit(f"{' '.join(command)}\n{output.decode(errors='replace')[-3000:]}")
    return seconds, usage.ru_maxrss * 1024


def main() -> None:
    """Prints a line for every number of clips and command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", default="1000,10000,100000", help="numbers of clips")
    counts = [int(count) for count in parser.parse_args().clips.split(",")]
    for clips in counts:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            write_clips(folder / "raw", clips)
            prepares = ["tools/prepare.py", "--dataset=dcase2020", f"--raw_dir={folder / 'raw'}"]
            stores = [*prepares, f"--data_dir={folder / 'data'}"]
            trains = ["tools/train.py", "--config=configs/proxy_outlier.py:quicktest", f"--workdir={folder / 'run'}"]
            overrides = {"data_dir": folder / "data", "machine_type": "saw", "machine_id": "00", "outlier_set": "a"}
            overrides |= {"window": WINDOW, "compilation_cache": ""}
            trains += [f"--config.{key}={value}" for key, value in overrides.items()]
            for what, (seconds, peak) in (
                ("check", measure([*prepares, "--check"])),
                ("prepare", measure(stores)),
                ("prepare again", measure(stores)),
                ("training, to the first loss", measure(trains, until=b"loss=")),
            ):
                beside = f", {(peak - clips * LOG_MEL) / 1e6:.0f} MB beside the log-mels" if "training" in what else ""
                print(f"{clips:>7} clips  {what:<28}{seconds:>7.1f} s  {peak / 1e6:>6.0f} MB{beside}", flush=True)


if __name__ == "__main__":
    main()

"""Scores recordings by the detector in this folder: python example.py RECORDING.wav ...

It takes 16-bit WAV files of the detector's sample rate and at least its length, of which it scores the beginning. It
needs jax and numpy, and flatbuffers, by which jax.export reads its files: pip install jax numpy flatbuffers

Nothing in the folder is run as Python code: model.json and weights.npz are data, and program.jaxexport is StableHLO, a
list of array operations, which JAX compiles. A program that calls anything outside of it is refused below.
"""

import hashlib
import json
import pathlib
import re
import sys
import wave
from collections.abc import Callable

import jax
import jax.export
import numpy as np

PROGRAM, WEIGHTS = "program.jaxexport", "weights.npz"
ALLOWED_CALLS = {"shape_assertion"}
"""Functions by which a program checks its inputs' shapes."""


def load(folder: pathlib.Path) -> tuple[dict, Callable[[np.ndarray], dict[str, jax.Array]]]:
    """What model.json says, and the program.

    The program takes waveforms [clips, samples], float32 with full scale 1, any number of clips, and gives their
    anomaly scores: "score" [clips] and "window_score" [clips, windows].

    Raises:
        ValueError: a file is not what was written, or the program calls something outside of it.
    """
    model = json.loads((folder / "model.json").read_text())
    for name in (PROGRAM, WEIGHTS):
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != model["sha256"][name]:
            raise ValueError(f"{folder / name} is damaged: model.json says another SHA-256.")
    weights = dict(np.load(folder / WEIGHTS, allow_pickle=False))
    program = jax.export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    calls = set(re.findall(r"custom_call @?([^\s(]*)", program.mlir_module()))
    if not calls <= ALLOWED_CALLS:
        raise ValueError(
            f"{folder / PROGRAM} calls {', '.join(sorted(calls - ALLOWED_CALLS))}: asd_jax exports no such."
        )
    call = jax.jit(program.call)
    return model, lambda waves: call(weights, waves)


def read_wav(path: str, sample_rate: int, samples: int, channel: int | None) -> np.ndarray:
    """The first samples of a recording, of one channel (the mean where None): float32 [samples], full scale 1.

    Raises:
        ValueError: it has another format or sample rate, or no such channel, or it is too short or silent.
    """
    with wave.open(path) as file:
        if file.getsampwidth() != 2 or file.getframerate() != sample_rate or file.getnframes() < samples:
            raise ValueError(
                f"{path} has {8 * file.getsampwidth()} bits, {file.getframerate()} Hz and {file.getnframes()} samples: "
                f"expected 16 bits, {sample_rate} Hz and at least {samples} samples."
            )
        values = np.frombuffer(file.readframes(samples), "<i2").reshape(samples, file.getnchannels())
    if channel is not None and channel >= values.shape[1]:
        raise ValueError(f"{path} has {values.shape[1]} channel(s): the detector takes channel {channel}, from 0.")
    mono = values.mean(axis=1, dtype=np.float32) if channel is None else values[:, channel].astype(np.float32)
    if channel is None and float(np.ptp(mono)) < 0.01 * np.ptp(values.astype(float), axis=0).max():
        raise ValueError(f"{path} has channels that cancel in their mean.")
    mono /= np.float32(2**15)
    if float(np.ptp(mono)) <= 2**-21 * float(np.abs(mono).max()):
        raise ValueError(f"{path} is silent.")
    return mono


def main() -> None:
    """Prints a line for every recording: its score, the decision where there is a threshold, and its name."""
    paths = sys.argv[1:]
    try:
        model, scores = load(pathlib.Path(__file__).parent)
        waves = [read_wav(path, model["sample_rate"], model["samples"], model["channel"]) for path in paths]
    except (OSError, ValueError, wave.Error) as error:
        sys.exit(f"Error: {error}")
    for path, score in zip(paths, np.asarray(scores(np.stack(waves))["score"]), strict=True):
        decision = "-" if model["threshold"] is None else "anomalous" if score > model["threshold"] else "normal"
        print(f"{score:.6f} {decision} {path}")


if __name__ == "__main__":
    main()

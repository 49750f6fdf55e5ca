"""A trained workdir as a program to ship: a folder that scores waveforms without this library.

OUT/program.jaxexport   the program (`asd_jax.export.program`) by jax.export: for clips of one length, any number of
                        them, on every platform asked for
OUT/weights.npz         what it was trained to
OUT/model.json          machine, threshold, features, versions, and the check: how far its scores are from the library's
OUT/program.tflite      where asked for: the same for LiteRT (`asd_jax.export.litert`), for one clip at a time
OUT/example.py          how to use it (`asd_jax.export.example`)
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import io
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

import jax
import jax.export
import numpy as np

from asd_jax.base import locks
from asd_jax.base.errors import UserError
from asd_jax.base.progress import tqdm
from asd_jax.base.stored_json import read_json
from asd_jax.datasets import synthetic_sound
from asd_jax.datasets.clips import Machine
from asd_jax.export import example, litert
from asd_jax.export.program import Program, Weights, make
from asd_jax.listening import one_score
from asd_jax.records import manifest
from asd_jax.scoring.detector import Detector, load_detector
from asd_jax.scoring.held_back import held_back_scores
from asd_jax.scoring.trained import Trained
from asd_jax.sound.features import FeaturePreset
from asd_jax.sound.presets import PRESETS

PLATFORMS = ("cpu", "cuda", "tpu")
TOLERANCE = 1e-4
"""Of the range of scores: how far a score of the program may be from the library's."""

_MODEL, _LITERT = "model.json", "program.tflite"
_PACKAGES = ("asd_jax", "jax", "jaxlib", "flax", "numpy")
_BATCH = 4  # clips that the check scores together
_SYNTHETIC = 2  # clips of every kind and label, where no recordings are given
_FEW = 8  # clips whose range of scores says too little alone


def export_workdir(
    workdir: str,
    out: str,
    target_fpr: float,
    platforms: Sequence[str] = PLATFORMS,
    machine_id: str | None = None,
    score_hop: int | None = None,
    seconds: float | None = None,
    check: str | None = None,
    to_litert: bool = False,
) -> dict:
    """Writes `out`, whole or not at all; an older export there is replaced.

    Args:
        workdir: of a training.
        out: the folder.
        target_fpr: share of normal recordings above the threshold.
        platforms: that the program runs on, among them this machine's.
        machine_id: which of the workdir's machines it is for, where it knows several.
        score_hop: frames between the windows of a clip; the recipe's where None.
        seconds: length of a clip; that of the prepared clips where None.
        check: an audio file or a folder of them, by which the program is compared with the library; synthetic sounds
            where None.
        to_litert: write program.tflite too, and check it like the program.

    Returns:
        What model.json says.

    Raises:
        UserError: `out` is no export, the clips or the platforms do not fit, or the program's scores are not the
            library's.
    """
    if unknown := sorted(set(platforms) - set(PLATFORMS)):
        raise UserError(f"--platforms={','.join(unknown)} was given: expected some of {', '.join(PLATFORMS)}.")
    if (here := jax.export.default_export_platform()) not in platforms:
        raise UserError(f"--platforms={','.join(platforms)} leaves out {here}, on which the export is checked: add it.")
    with _whole_folder(pathlib.Path(os.path.abspath(out))) as folder:
        detector = load_detector(workdir, target_fpr, machine_id, score_hop)
        trained, machine, preset = detector.trained, detector.machine, detector.preset
        samples = round((_seconds_of_clips(trained, machine) if seconds is None else seconds) * preset.sample_rate)
        _check_length(trained, samples)
        program, weights = make(detector, samples)
        files = {
            example.PROGRAM: _serialized(program, weights, platforms),
            example.WEIGHTS: _npz(weights),
        }
        if to_litert:
            files[_LITERT] = litert.convert(program, weights, trained.recipe.method)
        model = {
            "machine_type": machine[0],
            "machine_id": machine[1],
            "method": trained.recipe.method,
            "threshold": detector.threshold,
            "target_fpr": target_fpr,
            "sample_rate": preset.sample_rate,
            "channel": detector.channel,
            "samples": samples,
            "window_frames": trained.recipe.window,
            "window_starts": program.starts.tolist(),
            "features": dataclasses.asdict(preset),
            "wave_statistics": detector.statistics and dataclasses.asdict(detector.statistics),
            "platforms": list(platforms),
            "versions": {package: importlib.metadata.version(package) for package in _PACKAGES},
            "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        shutil.copy(example.__file__, folder / "example.py")
        (folder / _MODEL).write_text(json.dumps(model))
        model["check"] = _checked(folder, program, detector, check)
        (folder / _MODEL).write_text(json.dumps(model, indent=2) + "\n")
    return model


@contextlib.contextmanager
def _whole_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a folder to write to, which then takes the place of `out` and of an older export there."""
    if not out.name:
        raise UserError(f"--out={out} was given: expected a folder of its own.")
    _check_own(out)
    aside = out.with_name(f".{out.name}.unfinished")
    new, old = aside / "new", aside / "old"
    with locks.held(aside, "run of tools/export.py"):
        shutil.rmtree(new, ignore_errors=True)  # of a killed export
        if old.exists() and not out.exists():
            old.rename(out)
        _check_own(out)
        new.mkdir()
        try:
            yield new
            shutil.rmtree(old, ignore_errors=True)
            if out.exists():
                out.rename(old)
            new.rename(out)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(OSError):
        aside.rmdir()  # that a killed export left


def _check_own(out: pathlib.Path) -> None:
    """Raises a UserError where there is something else than an export: it would be deleted."""
    if not out.exists():
        return
    if not out.is_dir() or not (out / _MODEL).is_file():
        raise UserError(f"--out={out} exists and is no export, it holds no {_MODEL}: choose another folder.")
    try:
        read_json(out / _MODEL, {"machine_type": str, "sha256": dict[str, str]}, "")
    except UserError as error:
        raise UserError(f"--out={out} exists and is no export, its {_MODEL} is none: choose another folder.") from error
    ours = (_MODEL, _LITERT, example.PROGRAM, example.WEIGHTS, "example.py", "__pycache__")
    if others := sorted(path.name for path in out.iterdir() if path.name not in ours):
        raise UserError(
            f"--out={out} holds {', '.join(others[:3])} beside an export: move that, or choose another folder."
        )


def _seconds_of_clips(trained: Trained, machine: Machine) -> float:
    """The mean length of the machine's prepared clips."""
    prepared = manifest.read_manifest(trained.recipe.data_dir)
    if prepared is None or machine not in prepared.machines:
        raise UserError(f"{trained.recipe.data_dir} has no clips of {'/'.join(machine)} any more: give --seconds=10.")
    records = prepared.machines[machine]
    return records.seconds / sum(records.clips.values())


def _check_length(trained: Trained, samples: int) -> None:
    preset, window = PRESETS[trained.recipe.features], trained.recipe.window
    needed = preset.samples(window)
    if samples < needed:
        raise UserError(
            f"A clip of {samples / preset.sample_rate:g} s is shorter than one window: give --seconds of at least "
            f"{math.ceil(1000 * needed / preset.sample_rate) / 1000:g}."
        )


def _serialized(program: Program, weights: Weights, platforms: Sequence[str]) -> bytes:
    [batch] = jax.export.symbolic_shape("b")
    shapes = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in weights.items()}
    waves = jax.ShapeDtypeStruct((batch, program.samples), np.float32)
    with jax.default_matmul_precision("highest"):  # the check on one platform is to hold for the others
        exported = jax.export.export(jax.jit(program), platforms=platforms)(shapes, waves)
    return bytes(exported.serialize())


def _npz(weights: Weights) -> bytes:
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **weights)
    return content.getvalue()


def _checked(folder: pathlib.Path, program: Program, detector: Detector, source: str | None) -> dict:
    """Compares the written program with the library.

    Raises:
        UserError: a score differs by more than `TOLERANCE` of the range of scores.
    """
    preset, samples = program.preset, program.samples
    waves = _synthetic(preset, samples) if source is None else _recorded(source, detector, samples)
    expected = detector.scores((name, detector.features(wave, name)) for name, wave in waves.items())
    _, scores = example.load(folder)
    together = np.stack([*waves.values()] + [np.zeros(samples, np.float32)] * (-len(waves) % _BATCH))
    found = np.concatenate([scores(together[i : i + _BATCH])["score"] for i in range(0, len(together), _BATCH)])
    by_file = {example.PROGRAM: found[: len(waves)]}
    if (folder / _LITERT).exists():
        by_file[_LITERT] = litert.scores((folder / _LITERT).read_bytes(), together[: len(waves)])["score"]
    differences = {name: float(np.abs(given - expected).max()) for name, given in by_file.items()}
    scores_there = list(expected)
    if len(waves) < _FEW:
        held_back = held_back_scores(detector.scorer)
        scores_there += held_back.get("/".join(detector.machine), {}).values()
    score_range, difference = float(np.ptp(scores_there)), float(np.max([*differences.values()]))
    if not score_range:
        raise UserError("The check needs clips with different scores: give two recordings or more by --check.")
    if not difference <= TOLERANCE * score_range:
        raise UserError(
            f"The exported program is not the library's: over {len(waves)} clips its scores differ by up to "
            f"{difference:.2g}, and only {TOLERANCE:g} of their range of {score_range:.4g} is allowed; "
            "nothing was written."
        )
    return {
        "sounds": "synthetic" if source is None else "recordings",
        "clips": list(waves),
        "platform": jax.export.default_export_platform(),
        "largest_difference": difference,
        "largest_difference_by_file": differences,
        "score_range": score_range,
        "share_of_range": difference / score_range,
    }


def _recorded(source: str, detector: Detector, samples: int) -> dict[str, np.ndarray]:
    """File name -> the beginning of each recording that is long enough."""
    waves = {}
    for _, file in tqdm(one_score.find_recordings([source]), unit="clip", desc="reading"):
        wave = detector.read(file)
        if len(wave) >= samples:
            waves[file] = wave[:samples]
    if not waves:
        raise UserError(
            f"--check={source} holds no recording of {samples / detector.preset.sample_rate:g} s: give others."
        )
    return waves


def _synthetic(preset: FeaturePreset, samples: int) -> dict[str, np.ndarray]:
    """Made-up machines, intact and faulty."""
    kinds = [(kind, label, n) for kind in synthetic_sound.MADE_UP_TYPES for label in (0, 1) for n in range(_SYNTHETIC)]
    return {
        f"{kind} {label} {number}": synthetic_sound.made_up_sound(
            0, kind, "00", "test", label, number, samples / preset.sample_rate
        )
        / np.float32(2**15)
        for kind, label, number in kinds
    }

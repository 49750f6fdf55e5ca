"""Made-up machines: a small data set in the DCASE 2020 Task 2 layout, for trials without any download.

A machine is a hum (harmonics of its speed), a noise bed and a train of strokes, the hum and the bed modulated once a
stroke. A type is one such description, an ID a slightly different copy of it, a clip one run of it: its own speed,
drift, balance of the parts, and noise. All machines stand in one room, with the same background noise. A fault changes
the description; how loud a clip is never depends on it.
"""

import dataclasses
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal
from tqdm import tqdm

from asd_jax.errors import UserError
from asd_jax.files import write_atomically

SAMPLE_RATE = 16_000
BEARING_RATE = 47.0  # clicks a second
BEARING_RING = 3400.0, 500.0  # centre and width, Hz


@dataclasses.dataclass(frozen=True)
class Machine:
    """How a machine sounds. Levels are in dB relative to each other, frequencies in Hz."""

    speed: float  # fundamental of the hum
    harmonics: tuple[float, ...]  # of each multiple of the speed, in dB
    hum: float
    bed: float
    bed_centre: float
    bed_width: float
    strokes: float
    stroke_rate: float
    ring_centre: float  # what a stroke excites
    ring_width: float
    modulation: float  # depth, 0 to 1
    faults: tuple[str, ...]
    missed: float = 0.0  # share of the strokes that do not happen
    bearing: float = -np.inf  # level of the clicks of a worn bearing


def _rolloff(count: int, per_octave: float) -> tuple[float, ...]:
    return tuple(-per_octave * np.log2(np.arange(1, count + 1)))


MACHINE_TYPES = {
    "rotor": Machine(
        speed=140, harmonics=_rolloff(12, 4), hum=-3, bed=0, bed_centre=1300, bed_width=1600,
        strokes=-20, stroke_rate=13, ring_centre=1500, ring_width=200, modulation=0.25,
        faults=("harmonic", "bearing", "modulation"),
    ),
    "piston": Machine(
        speed=48, harmonics=_rolloff(40, 3), hum=0, bed=-3, bed_centre=1800, bed_width=1200,
        strokes=-5, stroke_rate=6, ring_centre=500, ring_width=60, modulation=0.5,
        faults=("harmonic", "bearing", "missed", "ring"),
    ),
    "belt": Machine(
        speed=95, harmonics=_rolloff(8, 7), hum=-5, bed=0, bed_centre=300, bed_width=700,
        strokes=-2, stroke_rate=9, ring_centre=1200, ring_width=120, modulation=0.15,
        faults=("bearing", "missed", "ring", "bed"),
    ),
    "relay": Machine(
        speed=120, harmonics=_rolloff(5, 5), hum=-9, bed=-5, bed_centre=5000, bed_width=2500,
        strokes=0, stroke_rate=2.4, ring_centre=2600, ring_width=70, modulation=0.1,
        faults=("missed", "ring", "harmonic"),
    ),
}  # fmt: skip


def generate(
    out: str | Path,
    *,
    seed: int = 0,
    machine_types: Sequence[str] = tuple(MACHINE_TYPES),
    machine_ids: Sequence[str] = ("00", "01", "02", "03"),
    train_clips: int = 40,
    test_clips: int = 20,
    seconds: float = 10.0,
) -> int:
    """Writes 16 kHz mono 16-bit WAVs and `eval_data_list.csv` under `out`, and returns the number of clips.

    The first half of the IDs is the development part, the rest the evaluation part, whose test clips bear no label in
    their names. `train_clips` counts per machine, `test_clips` per machine and label. A clip depends on the seed, its
    machine, split, label and counter alone: asking for more clips leaves the former ones as they were.

    Raises:
        UserError: an unknown machine type, an ID that is not two digits, or clips in `out` that are not of this set.
    """
    out, machine_types, machine_ids = Path(out), list(dict.fromkeys(machine_types)), list(dict.fromkeys(machine_ids))
    for machine_type in machine_types:
        if machine_type not in MACHINE_TYPES:
            raise UserError(
                f"There is no synthetic machine type {machine_type!r}: choose from {', '.join(MACHINE_TYPES)}."
            )
    for machine_id in machine_ids:
        if not re.fullmatch(r"[0-9]{2}", machine_id):
            raise UserError(f"The machine ID {machine_id!r} is not two digits: write it like 00 or 13.")

    clips, truth = {}, []
    for machine_type in machine_types:
        truth.append(machine_type)
        for index, machine_id in enumerate(machine_ids):
            part = "dev" if index < (len(machine_ids) + 1) // 2 else "eval"
            for split, label, counter in _contents(train_clips, test_clips):
                name = f"{'anomaly' if label else 'normal'}_id_{machine_id}_{counter:08d}.wav"
                if (part, split) == ("eval", "test"):
                    # In pairs of a normal and an anomalous clip, in random order, so that more clips follow the former.
                    swapped = _rng(seed, machine_type, machine_id, "order", counter).integers(2)
                    unlabelled = f"id_{machine_id}_{2 * counter + (label ^ swapped):08d}.wav"
                    truth.append(f"{unlabelled},{name},{label}")
                    name = unlabelled
                path = out / f"{part}_data" / machine_type / split / name
                clips[path] = (machine_type, machine_id, split, label, counter)

    strangers = sorted(path for path in out.glob("*_data/*/*/*.wav") if path not in clips)
    if strangers:
        raise UserError(
            f"{out} already holds {len(strangers)} clips that these arguments do not make, such as "
            f"{strangers[0].relative_to(out)}: choose another folder or remove them first."
        )
    for folder in {path.parent for path in clips}:
        folder.mkdir(parents=True, exist_ok=True)

    def write(path: Path) -> None:
        wav = io.BytesIO()
        soundfile.write(wav, waveform(seed, *clips[path], seconds), SAMPLE_RATE, subtype="PCM_16", format="WAV")
        write_atomically(path, wav.getvalue())

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy and SciPy let go of the interpreter while they compute
        for _ in tqdm(pool.map(write, clips), total=len(clips), unit="clip", desc="synthetic"):
            pass
    write_atomically(out / "eval_data_list.csv", "".join(f"{line}\n" for line in truth))
    return len(clips)


def _contents(train_clips: int, test_clips: int) -> Iterator[tuple[str, int, int]]:
    """Yields split, label, counter of every clip of one machine."""
    for counter in range(train_clips):
        yield "train", 0, counter
    for counter in range(test_clips):
        yield "test", 0, counter
        yield "test", 1, counter


def _rng(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


def waveform(
    seed: int, machine_type: str, machine_id: str, split: str, label: int, counter: int, seconds: float
) -> np.ndarray:
    """Returns one clip, int16 [samples]."""
    machine = _individual(MACHINE_TYPES[machine_type], _rng(seed, machine_type, machine_id))
    rng = _rng(seed, machine_type, machine_id, split, label, counter)
    if label:
        machine = _faulty(machine, rng.choice(machine.faults), rng.uniform(0.1, 1.0), rng)
    samples = round(seconds * SAMPLE_RATE)
    sound = _unit(signal.oaconvolve(_run(machine, samples, rng), _ROOM)[:samples])
    # Background as in a hall: falling by 6 dB an octave above 100 Hz, over a little white noise.
    noise = rng.standard_normal(samples, dtype=np.float32)
    background = _unit(_filter([2, -0.96], [1, -0.96], noise))
    # The same for the normal and the anomalous clip of a counter, so that loudness tells nothing in small sets either.
    level = _decibels(_rng(seed, machine_type, machine_id, split, "level", counter).normal(-30, 1.5))
    clip = level * 2**15 * _unit(_decibels(rng.normal(6, 1)) * sound + background)
    return np.clip(np.rint(clip), -(2**15), 2**15 - 1).astype(np.int16)


def _individual(kind: Machine, rng: np.random.Generator) -> Machine:
    """One machine (ID) of its type."""
    near = lambda value, spread: value * np.exp(rng.normal(0, spread))  # noqa: E731
    return dataclasses.replace(
        kind,
        speed=near(kind.speed, 0.06),
        harmonics=tuple(kind.harmonics + rng.normal(0, 3, len(kind.harmonics))),
        bed_centre=near(kind.bed_centre, 0.12),
        stroke_rate=near(kind.stroke_rate, 0.1),
        ring_centre=near(kind.ring_centre, 0.12),
        modulation=min(near(kind.modulation, 0.2), 1.0),
    )


def _faulty(machine: Machine, fault: str, severity: float, rng: np.random.Generator) -> Machine:
    """The machine with a fault of a severity from 0 (none) to 1."""
    if fault == "harmonic":
        harmonics = np.array(machine.harmonics)
        harmonics[rng.integers(1, len(harmonics), 2)] += 18 * severity
        return dataclasses.replace(machine, harmonics=tuple(harmonics))
    changed = {
        "bearing": {"bearing": -26 + 16 * severity},
        "missed": {"missed": 0.8 * severity},
        "ring": {"ring_centre": machine.ring_centre * 2 ** (0.4 * severity)},
        "bed": {"bed_centre": machine.bed_centre * 2 ** (0.6 * severity)},
        "modulation": {"modulation": machine.modulation + (1 - machine.modulation) * severity},
    }
    return dataclasses.replace(machine, **changed[fault])


def _run(machine: Machine, samples: int, rng: np.random.Generator) -> np.ndarray:
    """The machine running, before room and background: float32 [samples]."""
    knots = np.linspace(0, samples, 8)
    pace = rng.normal(1, 0.01) + np.interp(np.arange(samples), knots, rng.normal(0, 0.004, len(knots)))
    seconds = np.cumsum(pace) / SAMPLE_RATE  # a faster machine lives faster
    envelope = 1 + machine.modulation * _wave(seconds, machine.stroke_rate, np.ones(1), rng)
    hum = _wave(seconds, machine.speed, _decibels(np.array(machine.harmonics)), rng)
    bed = _resonance(rng.standard_normal(samples, dtype=np.float32), machine.bed_centre, machine.bed_width)
    strokes = _clicks(seconds, machine.stroke_rate, rng, machine.missed)
    strokes = _resonance(strokes, machine.ring_centre, machine.ring_width)

    hum_gain, bed_gain, stroke_gain = _decibels(rng.normal([machine.hum, machine.bed, machine.strokes], 1)).tolist()
    sound = envelope * (hum_gain * _unit(hum) + bed_gain * _unit(bed)) + stroke_gain * _unit(strokes)
    if np.isfinite(machine.bearing):
        # Passes of the balls are no multiple of the speed; they ring the housing.
        clicks = _clicks(seconds, BEARING_RATE, rng)
        sound += _decibels(machine.bearing) * _unit(_resonance(clicks, *BEARING_RING))
    return sound


def _wave(seconds: np.ndarray, rate: float, amplitudes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Harmonics of a rate in Hz, each with a random phase, looked up in a table of one turn."""
    spectrum = np.zeros(2049, complex)
    spectrum[1 : len(amplitudes) + 1] = 2048 * amplitudes * np.exp(2j * np.pi * rng.uniform(size=len(amplitudes)))
    return np.fft.irfft(spectrum).astype(np.float32)[(seconds * (rate * 4096)).astype(np.int32) & 4095]


def _clicks(seconds: np.ndarray, rate: float, rng: np.random.Generator, missed: float = 0.0) -> np.ndarray:
    """One impulse of about equal strength for every turn of a rate in Hz, but for the share that is missed."""
    turns = (seconds * rate + rng.uniform()).astype(np.int32)
    at = np.flatnonzero(turns[1:] != turns[:-1])
    clicks = np.zeros(len(turns), np.float32)
    clicks[at] = np.exp(rng.normal(0, 0.2, len(at))) * (rng.uniform(size=len(at)) >= missed)
    return clicks


def _resonance(sound: np.ndarray, centre: float, width: float) -> np.ndarray:
    radius = np.exp(-np.pi * width / SAMPLE_RATE)
    poles = [1, -2 * radius * np.cos(2 * np.pi * centre / SAMPLE_RATE), radius**2]
    return _filter([1, 0, -1], poles, sound)


def _filter(numerator: Sequence[float], denominator: Sequence[float], sound: np.ndarray) -> np.ndarray:
    # In the precision of the sound: SciPy would widen float32 to float64, at half the speed.
    return signal.lfilter(np.array(numerator, sound.dtype), np.array(denominator, sound.dtype), sound)


def _unit(sound: np.ndarray) -> np.ndarray:
    """The sound at RMS 1; silence (every stroke missed) stays silent."""
    return sound / (np.sqrt(np.mean(np.square(sound))) or 1)


def _decibels(level: float | np.ndarray) -> float | np.ndarray:
    return 10 ** (level / 20)


def _impulse_response() -> np.ndarray:
    """0.1 s of a room: the direct sound, then noise that decays by 60 dB in 0.25 s."""
    time = np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE
    response = 0.15 * _rng(0, "room").standard_normal(len(time)) * 10 ** (-3 * time / 0.25)
    response[0] = 1
    return response.astype(np.float32)


_ROOM = _impulse_response()

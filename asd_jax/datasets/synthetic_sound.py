"""How made-up machines sound.

A machine is a hum (harmonics of its speed), a noise bed and a train of strokes, the hum and the bed modulated once a
stroke. A type is one such description, an ID a slightly different copy of it, a clip one run of it: its own speed,
drift, balance of the parts, and noise. All machines stand in one room, with the same background noise. A fault changes
the description; how loud a clip is never depends on it. In the target domain every machine runs at another speed and
load, in a louder hall.
"""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np
from scipy import signal

SAMPLE_RATE = 16_000
BEARING_RATE = 47.0  # clicks a second
BEARING_RING = 3400.0, 500.0  # centre and width, Hz


@dataclasses.dataclass(frozen=True)
class MadeUpMachine:
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
    clearance: float = 6.0  # of the machine over the background
    missed: float = 0.0  # share of the strokes that do not happen
    bearing: float = -np.inf  # level of the clicks of a worn bearing


def _rolloff(count: int, per_octave: float) -> tuple[float, ...]:
    return tuple(-per_octave * np.log2(np.arange(1, count + 1)))


MADE_UP_TYPES = {
    "rotor": MadeUpMachine(
        speed=140, harmonics=_rolloff(12, 4), hum=-3, bed=0, bed_centre=1300, bed_width=1600,
        strokes=-20, stroke_rate=13, ring_centre=1500, ring_width=200, modulation=0.25,
        faults=("harmonic", "bearing", "modulation"),
    ),
    "piston": MadeUpMachine(
        speed=48, harmonics=_rolloff(40, 3), hum=0, bed=-3, bed_centre=1800, bed_width=1200,
        strokes=-5, stroke_rate=6, ring_centre=500, ring_width=60, modulation=0.5,
        faults=("harmonic", "bearing", "missed", "ring"),
    ),
    "belt": MadeUpMachine(
        speed=95, harmonics=_rolloff(8, 7), hum=-5, bed=0, bed_centre=300, bed_width=700,
        strokes=-2, stroke_rate=9, ring_centre=1200, ring_width=120, modulation=0.15,
        faults=("bearing", "missed", "ring", "bed"),
    ),
    "relay": MadeUpMachine(
        speed=120, harmonics=_rolloff(5, 5), hum=-9, bed=-5, bed_centre=5000, bed_width=2500,
        strokes=0, stroke_rate=2.4, ring_centre=2600, ring_width=70, modulation=0.1,
        faults=("missed", "ring", "harmonic"),
    ),
}  # fmt: skip


def made_up_sound(
    seed: int,
    machine_type: str,
    machine_id: str,
    split: str,
    label: int,
    counter: int,
    seconds: float,
    domain: str = "source",
) -> np.ndarray:
    """Returns one clip, int16 [samples]; `domain` is "source" or "target"."""
    names = (machine_type, machine_id)
    machine = _individual(MADE_UP_TYPES[machine_type], generator(seed, *names))
    if domain == "target":
        names += (domain,)
        machine = _shifted(machine, generator(seed, *names))
    rng = generator(seed, *names, split, label, counter)
    if label:
        machine = _faulty(machine, rng.choice(machine.faults), rng.uniform(0.1, 1.0), rng)
    samples = round(seconds * SAMPLE_RATE)
    sound = _unit(signal.oaconvolve(_run(machine, samples, rng), _ROOM)[:samples])
    # Background as in a hall: falling by 6 dB an octave above 100 Hz, over a little white noise.
    noise = rng.standard_normal(samples, dtype=np.float32)
    background = _unit(_filter([2, -0.96], [1, -0.96], noise))
    # The same for the normal and the anomalous clip of a counter, so that loudness is no hint in small sets either.
    level = _decibels(generator(seed, *names, split, "level", counter).normal(-30, 1.5))
    clip = level * 2**15 * _unit(_decibels(rng.normal(machine.clearance, 1)) * sound + background)
    return np.clip(np.rint(clip), -(2**15), 2**15 - 1).astype(np.int16)


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """The generator of what has these names: it does not depend on anything else that is drawn."""
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


def _individual(kind: MadeUpMachine, rng: np.random.Generator) -> MadeUpMachine:
    """One machine (ID) of its type."""

    def near(value: float, spread: float) -> float:
        return value * np.exp(rng.normal(0, spread))

    return dataclasses.replace(
        kind,
        speed=near(kind.speed, 0.06),
        harmonics=tuple(kind.harmonics + rng.normal(0, 3, len(kind.harmonics))),
        bed_centre=near(kind.bed_centre, 0.12),
        stroke_rate=near(kind.stroke_rate, 0.1),
        ring_centre=near(kind.ring_centre, 0.12),
        modulation=min(near(kind.modulation, 0.2), 1.0),
    )


def _shifted(machine: MadeUpMachine, rng: np.random.Generator) -> MadeUpMachine:
    """The machine in its target domain: faster or slower, under another load, in a louder hall."""
    pace = 1.25 ** rng.choice([-1, 1])
    load = rng.choice([-1, 1])
    return dataclasses.replace(
        machine,
        speed=machine.speed * pace,
        stroke_rate=machine.stroke_rate * pace,
        hum=machine.hum + 3 * load,
        bed_centre=machine.bed_centre * 1.25**load,
        clearance=machine.clearance - 3,
    )


def _faulty(machine: MadeUpMachine, fault: str, severity: float, rng: np.random.Generator) -> MadeUpMachine:
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


def _run(machine: MadeUpMachine, samples: int, rng: np.random.Generator) -> np.ndarray:
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
    response = 0.15 * generator(0, "room").standard_normal(len(time)) * 10 ** (-3 * time / 0.25)
    response[0] = 1
    return response.astype(np.float32)


_ROOM = _impulse_response()

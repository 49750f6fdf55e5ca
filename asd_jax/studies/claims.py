"""What paper 1 says of its results in words, and whether it holds for those of a study.

Every claim is a list of comparisons of mean AUCs, over machine IDs and runs, in percentage points. The paper gives its
words no numbers; `WORDS` does.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from asd_jax.studies.paper1_results import RunResults, Setting
from asd_jax.studies.tables import two_digits

CLEARLY, STRONGLY, SLIGHTLY = 2.0, 5.0, 1.0

WORDS = {
    "improve clearly": f"more than {CLEARLY:g} points above the better of autoencoder and MAF, on average",
    "drops strongly": f"more than {STRONGLY:g} points below set a, which is of the same type",
    "helps": f"more than {SLIGHTLY:g} point above the better of autoencoder and MAF",
    "hurts": f"more than {SLIGHTLY:g} point below the worse of autoencoder and MAF",
    "falls": f"more than {SLIGHTLY:g} point below set c, all that was recorded as the target was",
    "beats": "any difference above 0",
}
"""What the claims mean."""

AUTOENCODER, MAF = Setting("autoencoder"), Setting("maf")
A, B, C, D, TAU, AUDIOSET = (Setting("proxy_outlier", outlier_set) for outlier_set in "abcdef")
OF_128, OF_512 = (C._replace(size=size) for size in (128, 512))
_BASELINES = (AUTOENCODER, MAF)

TYPES_2020 = ("fan", "pump", "slider", "valve", "ToyCar", "ToyConveyor")


class Comparison(NamedTuple):
    """Whether one mean AUC lies more than `margin` above another.

    Attributes:
        machine_type: of the means; None for the average over all types of the study.
        high: the setting with the higher mean, or the settings whose lowest mean it is.
        low: the setting with the lower mean, or the settings whose highest mean it is.
        margin: in percentage points.
        expected: what the claim says of it.
    """

    machine_type: str | None
    high: tuple[Setting, ...]
    low: tuple[Setting, ...]
    margin: float
    expected: bool = True


class Claim(NamedTuple):
    """A claim of the paper; it holds where all comparisons come out as expected."""

    text: str
    comparisons: tuple[Comparison, ...]


class Verdict(NamedTuple):
    """`holds` is None where something was not measured, which `grounds` then say; otherwise they are the numbers."""

    text: str
    holds: bool | None
    grounds: tuple[str, ...]

    def __str__(self) -> str:
        verdict = {True: "holds:", False: "does not hold:", None: "not measured: needs"}[self.holds]
        return f"{self.text}: {verdict} {'; '.join(self.grounds)}"


def _above(setting: Setting, margin: float, *machine_types: str | None, expected: bool = True) -> Iterator[Comparison]:
    """The setting lies above the better baseline."""
    return (Comparison(one, (setting,), _BASELINES, margin, expected) for one in machine_types)


def _others(*machine_types: str) -> tuple[str, ...]:
    return tuple(one for one in TYPES_2020 if one not in machine_types)


CLAIMS = (
    Claim("Sets a and c improve clearly over the baselines", (*_above(A, CLEARLY, None), *_above(C, CLEARLY, None))),
    Claim(
        "Set b drops strongly for slider, ToyCar and valve",
        tuple(Comparison(one, (A,), (B,), STRONGLY) for one in ("slider", "ToyCar", "valve")),
    ),
    Claim(
        "AudioSet helps fan, pump, slider and ToyConveyor",
        tuple(_above(AUDIOSET, SLIGHTLY, "fan", "pump", "slider", "ToyConveyor")),
    ),
    Claim(
        "AudioSet hurts ToyCar and valve",
        tuple(Comparison(one, _BASELINES, (AUDIOSET,), SLIGHTLY) for one in ("ToyCar", "valve")),
    ),
    Claim(
        "TAU helps fan, pump and ToyConveyor only",
        (
            *_above(TAU, SLIGHTLY, "fan", "pump", "ToyConveyor"),
            *_above(TAU, SLIGHTLY, *_others("fan", "pump", "ToyConveyor"), expected=False),
        ),
    ),
    Claim(
        "Set d falls for all but ToyConveyor",
        tuple(Comparison(one, (C,), (D,), SLIGHTLY, one != "ToyConveyor") for one in TYPES_2020),
    ),
    Claim(
        "128 outliers beat the autoencoder for all but ToyConveyor",
        tuple(Comparison(one, (OF_128,), (AUTOENCODER,), 0.0, one != "ToyConveyor") for one in TYPES_2020),
    ),
    Claim(
        "512 outliers beat the MAF for all but ToyConveyor",
        tuple(Comparison(one, (OF_512,), (MAF,), 0.0, one != "ToyConveyor") for one in TYPES_2020),
    ),
)


def judge(results: RunResults) -> list[Verdict]:
    """A verdict on every claim."""
    return [_judge(claim, results) for claim in CLAIMS]


def _judge(claim: Claim, results: RunResults) -> Verdict:
    grounds, met = [], []
    missing: dict[str, list[str]] = {}  # what -> for which machine types
    for machine_type, high, low, margin, expected in claim.comparisons:
        if machine_type is not None and machine_type not in results.test_ids:
            missing.setdefault("test clips", []).append(machine_type)
            continue
        types = list(results.test_ids) if machine_type is None else [machine_type]
        place = machine_type or "all types"
        scores = {setting: results.score(setting, types) for setting in (*high, *low)}
        unknown = [setting.label for setting, score in scores.items() if score is None]
        for label in unknown:
            missing.setdefault(label, []).append(place)
        if not unknown:
            upper = min(high, key=lambda setting: scores[setting].mean)
            lower = max(low, key=lambda setting: scores[setting].mean)
            met.append((scores[upper].mean - scores[lower].mean > margin) == expected)
            means = (f"{setting.label} {two_digits(scores[setting].mean)}" for setting in (upper, lower))
            grounds.append(f"{place}: {', '.join(means)}")
    if missing:
        needs = (f"{what} of {', '.join(dict.fromkeys(places))}" for what, places in missing.items())
        return Verdict(claim.text, None, tuple(needs))
    return Verdict(claim.text, all(met), tuple(grounds))


def verdict_lines(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a list, with what the words mean."""
    lines = ["# Claims of Primus et al., DCASE workshop 2020", "", *(f"- {verdict}" for verdict in verdicts)]
    lines += ["", "In mean AUC in %:", "", *(f"- {word}: {meaning}" for word, meaning in WORDS.items()), ""]
    return "\n".join(lines)

"""Paper 1's claims on made-up results: each one true and each one false."""

import pytest

from asd_jax.studies import claims
from asd_jax.studies.claims import AUDIOSET, AUTOENCODER, CLAIMS, MAF, OF_128, OF_512, TAU, TYPES_2020, A, B, C, D
from asd_jax.studies.paper1_results import RunResult, RunResults

TOY = "ToyConveyor"
HELPED = {TAU: {"fan", "pump", TOY}, AUDIOSET: {"fan", "pump", "slider", TOY}}


def world():
    """AUCs in percent, by setting and machine type, for which all claims hold."""
    aucs = {}
    for kind in TYPES_2020:
        aucs |= {(AUTOENCODER, kind): 70.0, (MAF, kind): 75.0, (A, kind): 90.0, (C, kind): 91.0, (D, kind): 80.0}
        aucs[B, kind] = 80.0 if kind in ("slider", "ToyCar", "valve") else 89.0
        aucs[TAU, kind] = 80.0 if kind in HELPED[TAU] else 74.0
        aucs[AUDIOSET, kind] = 80.0 if kind in HELPED[AUDIOSET] else 60.0
        aucs |= {(OF_128, kind): 72.0, (OF_512, kind): 76.0}
    return aucs | {(D, TOY): 93.0, (OF_128, TOY): 69.0, (OF_512, TOY): 74.0}


def judged(aucs, machine_types=TYPES_2020):
    """Verdicts where every ID of a type has its AUC, in two runs that lie 4 points apart."""
    found = [
        RunResult((kind, one), setting, run, (auc + (4 * run - 2)) / 100, 0.5)
        for (setting, kind), auc in aucs.items()
        for one in ("00", "02")
        for run in (0, 1)
    ]
    return claims.judge(RunResults(dict.fromkeys(machine_types, ("00", "02")), found))


def test_all_claims_hold_where_they_should():
    verdicts = judged(world())
    assert len(verdicts) == len(CLAIMS) == 8
    assert all(verdict.holds for verdict in verdicts)


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        (0, {(A, kind): 76.9 for kind in TYPES_2020}),
        (0, {(C, kind): 76.9 for kind in TYPES_2020}),
        (0, {(MAF, kind): 89.1 for kind in TYPES_2020}),
        (0, {(AUTOENCODER, kind): 89.1 for kind in TYPES_2020}),
        (1, {(B, "slider"): 85.1}),
        (1, {(B, "valve"): 91.0}),
        (2, {(AUDIOSET, "slider"): 75.9}),
        (3, {(AUDIOSET, "valve"): 69.1}),
        (4, {(TAU, "pump"): 75.9}),
        (4, {(TAU, "slider"): 76.1}),
        (5, {(D, "pump"): 90.1}),
        (5, {(D, TOY): 89.9}),
        (6, {(OF_128, "fan"): 69.9}),
        (6, {(OF_128, TOY): 70.1}),
        (7, {(OF_512, "fan"): 74.9}),
        (7, {(OF_512, TOY): 75.1}),
    ],
)
def test_a_claim_falls_with_its_numbers_alone(claim, changes):
    verdicts = judged(world() | changes)
    assert not verdicts[claim].holds and verdicts[claim].holds is not None
    assert "does not hold: " in str(verdicts[claim])


def test_a_verdict_tells_the_numbers_it_rests_on():
    told = [str(verdict) for verdict in judged(world())]
    assert told[0] == (
        "Sets a and c improve clearly over the baselines: holds: all types: (a) same type 90.00, MAF 75.00; "
        "all types: (c) both 91.00, MAF 75.00"
    )
    assert "ToyCar: autoencoder 70.00, (f) AudioSet 60.00" in told[3]
    assert "fan: (c) both, 128 clips 72.00, autoencoder 70.00" in told[6]


def test_what_is_missing_is_named():
    aucs = {key: auc for key, auc in world().items() if key[0] != AUDIOSET and key[1] not in ("valve", "ToyCar")}
    verdicts = judged(aucs, ["fan", "pump", "slider", TOY])
    assert verdicts[0].holds  # is about whatever types there are
    assert [verdict.holds for verdict in verdicts[1:]] == [None] * 7
    told = [str(verdict) for verdict in verdicts]
    assert told[2].endswith("not measured: needs (f) AudioSet of fan, pump, slider, ToyConveyor")
    assert told[1].endswith("not measured: needs test clips of ToyCar, valve")
    del aucs[MAF, "fan"]
    assert str(judged(aucs, ["fan", "pump", "slider", TOY])[0]).endswith("not measured: needs MAF of all types")


def test_the_page_lists_all_verdicts_and_says_what_the_words_mean():
    verdicts = judged(world())
    page = claims.verdict_lines(verdicts)
    assert all(f"- {verdict}\n" in page for verdict in verdicts)
    assert "- hurts: more than 1 point below the worse of autoencoder and MAF\n" in page

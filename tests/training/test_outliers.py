"""Outlier sets against the published clip counts, and their errors."""

import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets import is_machine, tau2020
from asd_jax.datasets.dcase2020 import CLIP_COUNTS, GROUPS
from asd_jax.methods.recipe import OUTLIER_SETS
from asd_jax.training.outliers import FIGURE_4_SIZES, check_target, outlier_machines

TAU, AUDIOSET = ("TAU2020", "all"), ("AudioSet", "all")
TRAIN_CLIPS = {
    (machine_type, machine_id): counts[0]
    for types in CLIP_COUNTS.values()
    for machine_type, ids in types.items()
    for machine_id, counts in ids.items()
}
MACHINE_GROUPS = {machine: GROUPS[machine[0]] for machine in TRAIN_CLIPS}
PREPARED = MACHINE_GROUPS | {TAU: "TAU2020", AUDIOSET: "AudioSet"}
CLIPS = TRAIN_CLIPS | {TAU: tau2020.CLIP_COUNTS["dev"]["TAU2020"]["all"][0], AUDIOSET: 18685}

TYPE_TOTAL = {"fan": 6521, "pump": 5766, "slider": 5174, "valve": 5822, "ToyCar": 7000, "ToyConveyor": 6000}
SET_B = {"fan": 16762, "pump": 17517, "slider": 18109, "valve": 17461, "ToyCar": 6000, "ToyConveyor": 7000}
MIMII, TOYADMOS = 23283, 13000


def size(outlier_set, target):
    return sum(CLIPS[machine] for machine in outlier_machines(outlier_set, target, PREPARED))


@pytest.mark.parametrize("target", sorted(TRAIN_CLIPS))
def test_sizes_of_the_sets_are_those_of_the_paper(target):
    own, toy = TRAIN_CLIPS[target], target[0].startswith("Toy")
    assert size("a", target) == TYPE_TOTAL[target[0]] - own
    assert size("b", target) == SET_B[target[0]]
    assert size("c", target) == (12000 if toy else MIMII - own)
    assert size("d", target) == (MIMII if toy else TOYADMOS)
    assert size("e", target) == 23035
    assert size("f", target) == 18685
    assert size("all", target) == MIMII + TOYADMOS - own
    assert size("other_types", target) == MIMII + TOYADMOS - TYPE_TOTAL[target[0]]


@pytest.mark.parametrize("outlier_set", OUTLIER_SETS)
def test_a_set_is_sorted_and_never_holds_the_target(outlier_set):
    machines = outlier_machines(outlier_set, ("fan", "00"), PREPARED)
    assert machines == sorted(set(machines)) and ("fan", "00") not in machines


@pytest.mark.parametrize("outlier_set", sorted(set(OUTLIER_SETS) - {"e", "f"}))
def test_sounds_of_no_machine_change_no_other_set_whatever_their_group(outlier_set):
    for group in ("TAU2020", "MIMII", "ToyADMOS"):
        groups = MACHINE_GROUPS | {TAU: group, AUDIOSET: group}
        for target in TRAIN_CLIPS:
            expected = outlier_machines(outlier_set, target, MACHINE_GROUPS)
            assert outlier_machines(outlier_set, target, groups) == expected


@pytest.mark.parametrize("target", [TAU, AUDIOSET, ("TAU2020", "park")])
@pytest.mark.parametrize("outlier_set", OUTLIER_SETS)
def test_sounds_of_no_machine_are_no_target(outlier_set, target):
    with pytest.raises(
        UserError, match=f"{' '.join(target)} is no machine: .* name a machine type and ID as the target"
    ):
        outlier_machines(outlier_set, target, PREPARED)


def test_which_are_machines():
    assert [machine for machine in PREPARED if is_machine(machine)] == list(TRAIN_CLIPS)
    for machine in TRAIN_CLIPS:
        check_target(machine, PREPARED)


def test_the_sets_of_a_small_world():
    groups = {("fan", "0"): "x", ("fan", "1"): "x", ("pump", "0"): "x", ("car", "0"): "y", TAU: "x", AUDIOSET: "z"}
    found = {name: outlier_machines(name, ("fan", "0"), groups) for name in OUTLIER_SETS}
    assert found == {
        "a": [("fan", "1")],
        "b": [("pump", "0")],
        "c": [("fan", "1"), ("pump", "0")],
        "d": [("car", "0")],
        "e": [TAU],
        "f": [AUDIOSET],
        "all": [("car", "0"), ("fan", "1"), ("pump", "0")],
        "other_types": [("car", "0"), ("pump", "0")],
    }


@pytest.mark.parametrize(
    ("outlier_set", "needs"),
    [
        ("a", "another machine ID of the type fan"),
        ("b", "another machine type in the recording group x"),
        ("c", "another machine in the recording group x"),
        ("d", "machines of another recording group than x"),
        ("e", "TAU2020, which tools/prepare.py --dataset=tau2020 puts into the same data_dir"),
        ("f", "AudioSet, which tools/prepare.py --dataset=audioset puts into the same data_dir"),
        ("all", "another machine"),
        ("other_types", "another machine type"),
    ],
)
def test_an_empty_set_says_what_it_needs_and_what_is_there(outlier_set, needs):
    with pytest.raises(UserError, match=rf"{needs}; the data hold fan 00 \(group x\)"):
        outlier_machines(outlier_set, ("fan", "00"), {("fan", "00"): "x"})


def test_an_unknown_set_or_target_is_told():
    with pytest.raises(UserError, match="outlier_set='g' was given: expected one of a, b, c, d, e, f, all"):
        outlier_machines("g", ("fan", "00"), MACHINE_GROUPS)
    with pytest.raises(UserError, match="clips of fan 08 in the data: did you mean fan 0"):
        outlier_machines("a", ("fan", "08"), MACHINE_GROUPS)
    with pytest.raises(UserError, match="clips of saw 1 in the data: there are ToyCar 01, .* fan 00"):
        outlier_machines("a", ("saw", "1"), MACHINE_GROUPS)
    with pytest.raises(UserError, match="clips of AudioSe all in the data: there are ToyCar 01, .*valve 06.$"):
        outlier_machines("a", ("AudioSe", "all"), PREPARED)


def test_the_sizes_of_figure_4():
    assert list(FIGURE_4_SIZES) == [*(2**power for power in range(2, 14)), 16392]

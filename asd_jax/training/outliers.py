"""Which recordings are the proxy outliers of a target: the sets a to f of Primus et al., DCASE workshop 2020."""

import difflib
from collections.abc import Mapping

from asd_jax.base.errors import UserError
from asd_jax.datasets import audioset, is_machine, tau2020
from asd_jax.datasets.clips import Machine
from asd_jax.methods.recipe import OUTLIER_SETS

_NEEDS = {
    "a": "another machine ID of the type {type}",
    "b": "another machine type in the recording group {group}",
    "c": "another machine in the recording group {group}",
    "d": "machines of another recording group than {group}",
    "e": "TAU2020, which tools/prepare.py --dataset=tau2020 puts into the same data_dir",
    "f": "AudioSet, which tools/prepare.py --dataset=audioset puts into the same data_dir",
    "all": "another machine",
    "other_types": "another machine type",
}

_OTHER_SOUNDS = {"e": tau2020.MACHINE_TYPE, "f": audioset.MACHINE_TYPE}
"""Outlier set -> what stands for a machine type in recordings that are of no machine."""

FIGURE_4_SIZES = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16392)
"""Numbers of outlier clips in Figure 4; the last one is the authors' 16,392, not 2^14 = 16,384."""


def outlier_machines(outlier_set: str, target: Machine, groups: Mapping[Machine, str]) -> list[Machine]:
    """The machines whose training clips are the proxy outliers of `target`.

    Args:
        outlier_set: "a" other IDs of the target's type; "b" other types of its recording group; "c" both;
            "d" all other recording groups; "e" TAU Urban Acoustic Scenes 2020 Mobile; "f" AudioSet; "all" every other
            machine; "other_types" all machines of other types, whatever their recording group (paper 2). Only "e" and
            "f" hold recordings that are of no machine.
        target: the machine to be watched; it is never among its own outliers.
        groups: every machine that has training clips -> its recording group.

    Returns:
        The machines, sorted; at least one.

    Raises:
        UserError: an unknown set, a target that is no machine or not in the data, or a set that comes out empty.
    """
    if outlier_set not in OUTLIER_SETS:
        raise UserError(f"config.outlier_set={outlier_set!r} was given: expected one of {', '.join(OUTLIER_SETS)}.")
    check_target(target, groups)
    group = groups[target]
    others = {machine for machine in groups if machine != target and is_machine(machine)}
    same_type = {machine for machine in others if machine[0] == target[0]}
    same_group = {machine for machine in others - same_type if groups[machine] == group}
    other_group = {machine for machine in others if groups[machine] != group}
    sets = {"a": same_type, "b": same_group, "c": same_type | same_group, "d": other_group, "all": others}
    sets["other_types"] = others - same_type
    for name, machine_type in _OTHER_SOUNDS.items():
        sets[name] = {machine for machine in groups if machine[0] == machine_type}
    chosen = sets[outlier_set]
    if not chosen:
        needs = _NEEDS[outlier_set].format(type=target[0], group=group)
        raise UserError(
            f"The outlier set {outlier_set!r} of {_name(target)} is empty: it needs training clips of {needs}; "
            f"the data hold {_listed(groups)}: prepare what is missing or choose another set."
        )
    return sorted(chosen)


def check_target(target: Machine, groups: Mapping[Machine, str]) -> None:
    """Raises a UserError for a target that is no machine or has no training clips."""
    if not is_machine(target):
        raise UserError(
            f"{_name(target)} is no machine: its recordings are proxy outliers of others (config.outlier_set e or f); "
            "name a machine type and ID as the target."
        )
    if target not in groups:
        names = sorted(_name(machine) for machine in groups if is_machine(machine))
        near = difflib.get_close_matches(_name(target), names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"No training clips of {_name(target)} in the data: {hint}there are {', '.join(names) or 'none'}."
        )


def _name(machine: Machine) -> str:
    return " ".join(machine)


def _listed(groups: Mapping[Machine, str]) -> str:
    by_group: dict[str, list[str]] = {}
    for machine, group in sorted(groups.items()):
        by_group.setdefault(group, []).append(_name(machine))
    return "; ".join(f"{', '.join(names)} (group {group})" for group, names in by_group.items()) or "no machine"

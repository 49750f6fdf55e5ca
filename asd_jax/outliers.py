"""Which machines are the proxy outliers of a target: the sets a to d of Primus et al., DCASE workshop 2020."""

import difflib
from collections.abc import Mapping

from asd_jax.clips import Machine
from asd_jax.errors import UserError

_NEEDS = {
    "a": "another machine ID of the type {type}",
    "b": "another machine type in the recording group {group}",
    "c": "another machine in the recording group {group}",
    "d": "machines of another recording group than {group}",
    "all": "another machine",
    "other_types": "another machine type",
}
OUTLIER_SETS = tuple(_NEEDS)


def outlier_machines(outlier_set: str, target: Machine, groups: Mapping[Machine, str]) -> list[Machine]:
    """The machines whose training clips are the proxy outliers of `target`.

    Args:
        outlier_set: "a" other IDs of the target's type; "b" other types of its recording group; "c" both;
            "d" all other recording groups; "all" every other machine; "other_types" all machines of other types,
            whatever their recording group (paper 2).
        target: the machine to be watched; it is never among its own outliers.
        groups: every machine that has training clips -> its recording group.

    Returns:
        The machines, sorted; at least one.

    Raises:
        UserError: an unknown set, a target that is not in the data, or a set that comes out empty.
    """
    if outlier_set not in OUTLIER_SETS:
        raise UserError(f"config.outlier_set={outlier_set!r} was given: expected one of {', '.join(OUTLIER_SETS)}.")
    if target not in groups:
        raise UserError(_not_in_data(target, groups))
    group = groups[target]
    others = {machine for machine in groups if machine != target}
    same_type = {machine for machine in others if machine[0] == target[0]}
    same_group = {machine for machine in others - same_type if groups[machine] == group}
    other_group = {machine for machine in others if groups[machine] != group}
    sets = {"a": same_type, "b": same_group, "c": same_type | same_group, "d": other_group, "all": others}
    sets["other_types"] = others - same_type
    chosen = sets[outlier_set]
    if not chosen:
        needs = _NEEDS[outlier_set].format(type=target[0], group=group)
        raise UserError(
            f"The outlier set {outlier_set!r} of {_name(target)} is empty: it needs training clips of {needs}; "
            f"the data hold {_listed(groups)}: prepare more machines or choose another set."
        )
    return sorted(chosen)


def _name(machine: Machine) -> str:
    return " ".join(machine)


def _listed(groups: Mapping[Machine, str]) -> str:
    by_group: dict[str, list[str]] = {}
    for machine, group in sorted(groups.items()):
        by_group.setdefault(group, []).append(_name(machine))
    return "; ".join(f"{', '.join(names)} (group {group})" for group, names in by_group.items()) or "no machine"


def _not_in_data(target: Machine, groups: Mapping[Machine, str]) -> str:
    names = sorted(map(_name, groups))
    near = difflib.get_close_matches(_name(target), names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"No training clips of {_name(target)} in the data: {hint}there are {', '.join(names) or 'none'}."

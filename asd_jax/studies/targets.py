"""The machines that a study is about: those with test clips labelled normal and anomalous."""

from collections.abc import Sequence

from asd_jax.base.errors import UserError
from asd_jax.datasets import is_machine
from asd_jax.datasets.clips import Machine
from asd_jax.records.store import Store

DOMAIN = "source"
"""Of the clips that both papers measure; the data of 2020 know no other."""

_PARTS = {"dev": "development part", "eval": "evaluation part"}


def find_test_ids(
    store: Store, part: str, machine_types: Sequence[str] = (), machine_ids: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """The machine IDs of every type that a study measures; says which.

    They are those of the challenge's part that the paper measures, "dev" or "eval", if it has test clips labelled
    normal and anomalous, or else all IDs that have them. Types without any are left out.

    Args:
        store: the prepared data.
        part: of the challenge.
        machine_types: which to consider; all where none are named.
        machine_ids: which to consider, of whatever part; all where none are named.

    Raises:
        UserError: a type or an ID that was named has no such clips, or no machine has any.
    """
    there = sorted(machine for machine in store.groups() if is_machine(machine))
    found = {}
    for machine_type in machine_types or sorted({machine_type for machine_type, _ in there}):
        machines = [machine for machine in there if machine[0] == machine_type]
        if machine_ids:
            choices = [([machine for machine in machines if machine[1] in machine_ids], "as named")]
        else:
            of_part = [machine for machine in machines if part in store.find(machine).parts]
            choices = [(of_part, _PARTS[part]), (machines, "all that are labelled")]
        for chosen, why in choices:
            if ids := [machine[1] for machine in chosen if _is_labelled(store, machine)]:
                print(f"{machine_type}: measured on {', '.join(ids)} ({why})")
                found[machine_type] = tuple(ids)
                break
        else:
            what = f"{store.data_dir} holds no test clips of {machine_type} labelled normal and anomalous"
            if machine_types:
                raise UserError(f"{what}: prepare some or leave the type out.")
            print(f"{machine_type}: left out, {what}")
    if missing := set(machine_ids) - {machine_id for ids in found.values() for machine_id in ids}:
        raise UserError(
            f"{store.data_dir} holds no test clips of machine ID {', '.join(sorted(missing))} labelled normal and "
            "anomalous: prepare some or leave the ID out."
        )
    if not found:
        raise UserError(f"{store.data_dir} holds no test clips labelled normal and anomalous: prepare some.")
    return found


def _is_labelled(store: Store, machine: Machine) -> bool:
    labels = set()
    if store.find(machine).clips.get("test"):
        for clip in store.listed(machine, "test"):
            if clip.domain == DOMAIN:
                labels.add(clip.label)
            if labels >= {0, 1}:
                return True
    return False

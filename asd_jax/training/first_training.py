"""The training that follows a preparation, as a command."""

import shlex

from asd_jax.datasets import is_machine
from asd_jax.records.prepare import Prepared


def next_command(prepared: Prepared) -> str | None:
    """A training on these data, ready to copy; None where no machine has training clips."""
    manifest, groups = prepared.manifest, {m.machine: m.group for m in prepared.manifest.machines.values() if m.clips}
    mine = [m for m in prepared.machines if is_machine(m) and manifest.machines[m].clips.get("train")]
    if not mine:
        return None
    (machine_type, machine_id), name = mine[0], manifest.preset.name
    values = {"data_dir": manifest.data_dir, "machine_type": machine_type}
    if name == "paper2":
        recipe, folder = "multitask", machine_type
    else:
        recipe = "proxy_outlier" if name == "paper1" and len(groups) > 1 else "autoencoder"
        values, folder = values | {"machine_id": machine_id}, f"{machine_type}_{machine_id}"
    if recipe == "proxy_outlier":
        values["outlier_set"] = "all"
    overrides = " ".join(shlex.quote(f"--config.{key}={value}") for key, value in values.items())
    recipe += ".py:dcase2020_baseline" if name == "dcase2020_baseline" else ".py"
    return f"python tools/train.py --config=configs/{recipe} --workdir={shlex.quote(f'runs/{folder}')} {overrides}"

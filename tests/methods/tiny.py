"""A tiny training of every method, on two machines of tones in noise and a third one of another type."""

import pathlib

from asd_jax.datasets import DATASETS
from asd_jax.methods import METHODS
from asd_jax.recipes.keys import as_config
from asd_jax.records.prepare import prepare
from tests.recordings import HIGH, LOW, write_tone

CHANGES = {
    "proxy_outlier": {
        "machine_id": "00",
        "network.blocks": (1, 1, 1),
        "network.width": 4,
        "window": 32,
        "batch_size": 8,
        "held_back": 2,
        "score_hop": 5,
    },
    "autoencoder": {"network.widths": (8, 2, 8), "batch_size": 64, "held_back": 2, "steps_per_dispatch": 4},
    "maf": {"network.blocks": 1, "network.hidden": 8, "batch_size": 64, "validation_share": 0.25},
    "multitask": {"window": 64, "batch_size": 8, "validation_share": 0.25},
    "ddcsad": {"machine_id": "00", "window": 64, "batch_size": 8, "validation_share": 0.25},
}
"""Method -> keys that make it small; encoders are `TinyEncoder`. One that is not here is trained as it is."""

MACHINES = {("drill", "00"): LOW, ("drill", "01"): HIGH, ("saw", "00"): 1500}


def write(raw: pathlib.Path) -> pathlib.Path:
    """Recordings of 2 s in the layout of 2020; faults of the drills sound like the other one."""
    for number, ((machine_type, machine_id), tone) in enumerate(MACHINES.items()):
        for i in range(10):
            write_tone(
                raw / f"dev_data/{machine_type}/train/normal_id_{machine_id}_{i:08d}.wav", tone, 100 * number + i
            )
        for i in range(3):
            for label, sound in (("normal", tone), ("anomaly", HIGH + LOW - tone)):
                path = raw / f"dev_data/{machine_type}/test/{label}_id_{machine_id}_{i:08d}.wav"
                write_tone(path, sound, 1000 * (1 + number) + 2 * i + (label == "normal"))
    return raw


def config_of(name: str, folder: pathlib.Path, compiled: str):
    """The config of a method, on the recordings below `folder`, which are prepared where they are not yet."""
    config = as_config(METHODS[name]())
    raw, data = folder / "raw", folder / config.features
    if not raw.exists():
        write(raw)
    if not data.exists():
        prepare(DATASETS["dcase2020"].list_clips(str(raw)), str(data), "dcase2020", config.features)
    everywhere = {"num_epochs": 2, "checkpoint_epochs": 1, "machine_type": "drill"}
    config.update_from_flattened_dict(everywhere | CHANGES.get(name, {}))
    config.data_dir, config.compilation_cache = str(data), compiled
    return config

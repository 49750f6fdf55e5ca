"""How recordings lie on disk: one file per layout, each with its `DATASET`."""

from asd_jax.clips import Machine
from asd_jax.datasets import audioset, dcase2020, dcase2021, folder, tau2020
from asd_jax.datasets.dataset import Dataset

_ALL = (dcase2020, dcase2021, tau2020, audioset, folder)
DATASETS: dict[str, Dataset] = {module.DATASET.name: module.DATASET for module in _ALL}


def is_machine(machine: Machine) -> bool:
    """False for recordings of no machine, which are kept beside those of machines as proxy outliers."""
    return machine[0] not in {dataset.other_sounds for dataset in DATASETS.values() if dataset.other_sounds}

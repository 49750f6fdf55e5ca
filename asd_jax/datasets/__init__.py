"""How recordings lie on disk: one file per layout, each with its `DATASET`.

audioset: AudioSet, as proxy outliers.
challenge: what the layouts of the challenge's years share.
check: what lies in a folder, what is missing and what is wrong.
clips: what each recording is.
dataset: what is known of a data set.
dcase2020: the challenge of 2020.
dcase2021: the challenge of 2021.
folder: recordings of one's own.
labels: lists of labels.
not_taken: what lies in a folder and is no clip.
synthetic: made-up data sets.
synthetic_sound: the sound of made-up machines.
tau2020: urban scenes, as proxy outliers.
"""

from asd_jax.datasets import audioset, dcase2020, dcase2021, folder, tau2020
from asd_jax.datasets.clips import Machine
from asd_jax.datasets.dataset import Dataset

_ALL = (dcase2020, dcase2021, tau2020, audioset, folder)
DATASETS: dict[str, Dataset] = {module.DATASET.name: module.DATASET for module in _ALL}


def is_machine(machine: Machine) -> bool:
    """False for recordings of no machine, which are kept beside those of machines as proxy outliers."""
    return machine[0] not in {dataset.other_sounds for dataset in DATASETS.values() if dataset.other_sounds}

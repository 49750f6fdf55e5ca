"""How recordings lie on disk: one file per layout, each with a `list_clips(raw_dir, machine_types=, groups=)`."""

from asd_jax.datasets import audioset, dcase2020, dcase2021, folder, tau2020

DATASETS = {
    "dcase2020": dcase2020.list_clips,
    "dcase2021": dcase2021.list_clips,
    "tau2020": tau2020.list_clips,
    "audioset": audioset.list_clips,
    "folder": folder.list_clips,
}

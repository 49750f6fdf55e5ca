"""How recordings lie on disk: one file per layout, each with a `list_clips(raw_dir, machine_types=, groups=)`."""

from asd_jax.datasets import dcase2020, dcase2021, folder

DATASETS = {
    "dcase2020": dcase2020.list_clips,
    "dcase2021": dcase2021.list_clips,
    "folder": folder.list_clips,
}

"""TAU Urban Acoustic Scenes 2020 Mobile: outlier set (e) of paper 1, ten seconds each from parks, trams, airports, ...

No machine was recorded. All clips are training clips of one stand-in for a machine, and have no label: they are neither
normal nor anomalous.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import Clip
from asd_jax.datasets.dataset import Dataset, flat_counts
from asd_jax.datasets.folder import choose_types, unzip_first, zip_files
from asd_jax.sound.audio_files import audio_files

MACHINE_TYPE = "TAU2020"
MACHINE_ID = "all"
FOLDER = "TAU-urban-acoustic-scenes-2020-mobile-development"

# As in `dcase2020`; there are no test clips.
CLIP_COUNTS = {"dev": {MACHINE_TYPE: {MACHINE_ID: (23035, 0, 0)}}}
ARCHIVES = dict.fromkeys(
    (("dev", "train"), ("dev", "test")), "all 16 audio archives of the development set (Zenodo record 3819968)"
)


def list_clips(
    raw_dir: str,
    *,
    machine_types: Sequence[str] | None = None,
    groups: Mapping[str, str] | None = None,
    misfits: list[str] | None = None,
) -> list[Clip]:
    """Lists every recording in `audio`, as paper 1's code does; no metadata are needed, and no audio is opened.

    Args:
        raw_dir: the folder of the development set, which holds `audio`, or the folder that this one lies in. (The
            evaluation set is no part of paper 1.)
        machine_types: None or "TAU2020".
        groups: may give "TAU2020" another recording group than "TAU2020". The outlier sets do not ask for it.
        misfits: gets nothing: every name fits.

    Returns:
        The clips, sorted.

    Raises:
        UserError: nothing found, or another machine type was named.
    """
    del misfits
    raw = Path(raw_dir)
    folder = raw / FOLDER if (raw / FOLDER).is_dir() else raw
    files = audio_files(folder / "audio")
    if not files:
        raise UserError(
            f"No recordings found in {folder}/audio: expected the recordings of TAU Urban Acoustic Scenes 2020 Mobile, "
            f"development, there, or in {FOLDER}/audio{unzip_first(zip_files(*{raw, folder}))}."
        )
    choose_types({MACHINE_TYPE}, machine_types, raw)
    group = (groups or {}).get(MACHINE_TYPE, MACHINE_TYPE)
    return sorted(Clip(MACHINE_TYPE, MACHINE_ID, "train", str(path), group=group) for path in files)


DATASET = Dataset(
    name="tau2020",
    list_clips=list_clips,
    other_sounds=MACHINE_TYPE,
    counts=flat_counts(CLIP_COUNTS),
    archives=ARCHIVES,
)

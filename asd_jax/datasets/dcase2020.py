"""The folders and file names of DCASE 2020 Challenge Task 2, for its six machine types and any other.

Layout (challenge baseline, README): `{dev_data,eval_data}/<machine type>/{train,test}/`, files
`{normal,anomaly}_id_XX_NNNNNNNN.wav`; evaluation test clips are `id_XX_NNNNNNNN.wav`, labelled by `eval_data_list.csv`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from asd_jax.datasets import challenge
from asd_jax.datasets.clips import Clip
from asd_jax.datasets.dataset import Dataset, MadeUp, MadeUpClip, flat_counts
from asd_jax.datasets.labels import LIST
from asd_jax.measures.file_names import ScoreFiles

GROUPS = {
    "fan": "MIMII",
    "pump": "MIMII",
    "slider": "MIMII",
    "valve": "MIMII",
    "ToyCar": "ToyADMOS",
    "ToyConveyor": "ToyADMOS",
}

# Part -> machine type -> machine ID -> (training clips, normal test clips, anomalous test clips), as published.
CLIP_COUNTS = {
    "dev": {
        "fan": {"00": (911, 100, 407), "02": (916, 100, 359), "04": (933, 100, 348), "06": (915, 100, 361)},
        "pump": {"00": (906, 100, 143), "02": (905, 100, 111), "04": (602, 100, 100), "06": (936, 100, 102)},
        "slider": {"00": (968, 100, 356), "02": (968, 100, 267), "04": (434, 100, 178), "06": (434, 100, 89)},
        "valve": {"00": (891, 100, 119), "02": (608, 100, 120), "04": (900, 100, 120), "06": (892, 100, 120)},
        "ToyCar": {"01": (1000, 350, 264), "02": (1000, 350, 265), "03": (1000, 350, 265), "04": (1000, 350, 265)},
        "ToyConveyor": {"01": (1000, 800, 400), "02": (1000, 800, 355), "03": (1000, 799, 355)},
    },
    "eval": {
        "fan": {"01": (934, 100, 326), "03": (912, 100, 358), "05": (1000, 109, 349)},
        "pump": {"01": (903, 100, 116), "03": (606, 100, 113), "05": (908, 100, 248)},
        "slider": {"01": (968, 100, 178), "03": (968, 100, 178), "05": (434, 100, 178)},
        "valve": {"01": (769, 100, 120), "03": (863, 100, 120), "05": (899, 100, 400)},
        "ToyCar": {"05": (1000, 250, 265), "06": (1000, 250, 265), "07": (1000, 250, 265)},
        "ToyConveyor": {"04": (1000, 200, 355), "05": (1000, 200, 355), "06": (1000, 200, 355)},
    },
}

CLIP_SECONDS = {machine_type: 11.0 if machine_type == "ToyCar" else 10.0 for machine_type in GROUPS}

# (part, split) -> the archive on Zenodo that holds it, but for the machine type.
ARCHIVES = {
    ("dev", "train"): "dev_data_{}.zip (Zenodo record 3678171)",
    ("dev", "test"): "dev_data_{}.zip (Zenodo record 3678171)",
    ("eval", "train"): "eval_data_train_{}.zip (Zenodo record 3727685)",
    ("eval", "test"): "eval_data_test_{}.zip (Zenodo record 3841772)",
}

_NAME = r"id_(?P<id>\d+)_\d+"
_TRAIN = rf"(?P<label>normal)_{_NAME}", "normal_id_XX_NNNNNNNN"
_LABELLED = rf"(?P<label>normal|anomaly)_{_NAME}", "normal_id_XX_NNNNNNNN or anomaly_id_XX_NNNNNNNN"
_ANY = rf"(?:(?P<label>normal|anomaly)_)?{_NAME}", f"id_XX_NNNNNNNN, {_LABELLED[1]}"

LAYOUT = challenge.Layout(
    2020,
    (
        challenge.ClipFolder("dev", "train", *_TRAIN),
        challenge.ClipFolder("dev", "test", *_LABELLED),
        challenge.ClipFolder("eval", "train", *_TRAIN),
        challenge.ClipFolder("eval", "test", *_ANY),
    ),
    GROUPS,
)


def list_clips(
    raw_dir: str,
    *,
    machine_types: Sequence[str] | None = None,
    groups: Mapping[str, str] | None = None,
    misfits: list[str] | None = None,
) -> list[Clip]:
    """Lists the clips below `raw_dir` from their names alone; no audio is opened.

    Args:
        raw_dir: holds `dev_data`, `eval_data` or both. Where `eval_data_list.csv` lies in it or in its `eval_data`,
            the evaluation test clips are labelled from it; a name in the list matches whatever its extension.
        machine_types: only these; all that are found where None.
        groups: machine type -> recording group. Types that it does not name have the group of the challenge (MIMII,
            ToyADMOS); types that the challenge does not know share the group "default".
        misfits: takes the sentences about names that do not fit, which are an error where it is None.

    Returns:
        The clips, sorted.

    Raises:
        UserError: nothing found, a name that does not fit, two labels for one clip, or a machine type that is not
            there.
    """
    raw = Path(raw_dir)
    return challenge.list_clips(LAYOUT, raw, challenge.read_labels(raw), machine_types, groups, misfits)


def _made_up_name(clip: MadeUpClip) -> tuple[str, dict[str, str]]:
    folder = f"{clip.part}_data/{clip.machine_type}/{clip.split}"
    labelled = f"{clip.label_word}_id_{clip.machine_id}_{clip.counter:08d}.wav"
    if clip.is_labelled:
        return f"{folder}/{labelled}", {}
    unlabelled = f"id_{clip.machine_id}_{clip.number:08d}.wav"
    return f"{folder}/{unlabelled}", {LIST: f"{unlabelled},{labelled},{clip.label}"}


DATASET = Dataset(
    name="dcase2020",
    list_clips=list_clips,
    mono=True,
    score_files=ScoreFiles(),
    machine_types=tuple(GROUPS),
    counts=flat_counts(CLIP_COUNTS),
    seconds=CLIP_SECONDS,
    archives=ARCHIVES,
    expected=challenge.expected(LAYOUT),
    made_up=MadeUp(("source",), _made_up_name),
)

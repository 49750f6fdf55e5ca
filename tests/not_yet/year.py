"""A year of the challenge: attributes in the names, both domains in one folder, and an official score of its own."""

import pathlib

from asd_jax.datasets import challenge
from asd_jax.datasets.dataset import Dataset, MadeUp, MadeUpClip
from asd_jax.datasets.labels import LIST
from asd_jax.measures import metrics
from asd_jax.measures.challenge import Measures, ScoredClips
from asd_jax.measures.file_names import ScoreFiles
from tests.recordings import write_tone

NAME = "dcase2030"
TONES = {"drill": {"vel_1": 500, "vel_2": 900, "vel_3": 1400}, "saw": {"vel_1": 2000, "vel_2": 2400, "vel_3": 2900}}
"""Machine type -> attributes -> tone, Hz; vel_3 is of the target domain alone."""

FAULT = 3600
CLIPS = {("source", "train"): 6, ("target", "train"): 2, ("source", "test"): 4, ("target", "test"): 4}

_NAME = r"section_(?P<id>\d+)_(?P<domain>source|target)_{}_(?P<label>{})_\d+_(?P<attributes>.+)"
_LAYOUT = challenge.Layout(
    2030,
    (
        challenge.ClipFolder("dev", "train", _NAME.format("train", "normal"), "section_XX_source_train_normal_NNNN_A"),
        challenge.ClipFolder("dev", "test", _NAME.format("test", "normal|anomaly"), "section_XX_source_test_..."),
    ),
    {"drill": "a lab", "saw": "a lab"},
)


class TwoDomains(Measures):
    """AUC of the normal clips of each domain against all anomalies, and pAUC over both."""

    columns = ("AUC (source)", "AUC (target)", "pAUC")
    harmonic = True

    def measure(self, clips: ScoredClips) -> tuple[float, ...]:
        found = []
        for domain in ("source", "target"):
            mine = [i for i, label in enumerate(clips.labels) if label == 1 or clips.domains[i] == domain]
            found.append(metrics.auc([clips.labels[i] for i in mine], [clips.scores[i] for i in mine]))
        return (*found, metrics.pauc(clips.labels, clips.scores))

    def official_score(self, rows) -> float:
        return metrics.harmonic_mean_of_all(*zip(*rows, strict=True))


def list_clips(raw_dir, *, machine_types=None, groups=None, misfits=None):
    raw = pathlib.Path(raw_dir)
    return challenge.list_clips(_LAYOUT, raw, challenge.read_labels(raw), machine_types, groups, misfits)


def _made_up_name(clip: MadeUpClip) -> tuple[str, dict[str, str]]:
    name = f"section_{clip.machine_id}_{clip.domain}_{clip.split}_{clip.label_word}_{clip.counter:04d}_vel_1.wav"
    return f"dev_data/{clip.machine_type}/{clip.split}/{name}", {LIST: f"{name},{name},{clip.label}"}


DATASET = Dataset(
    name=NAME,
    list_clips=list_clips,
    mono=True,
    by_domain=True,
    machine_types=("drill", "saw"),
    score_files=ScoreFiles("section_{id}_test", clips="section_{id}_", place=("section",)),
    measures=TwoDomains(),
    expected=challenge.expected(_LAYOUT),
    made_up=MadeUp(("source", "target"), _made_up_name),
)


def write(raw: pathlib.Path) -> pathlib.Path:
    """A section of each type; every second test clip of a domain is faulty, which is another tone."""
    seed = 0
    for machine_type, tones in TONES.items():
        for (domain, split), count in CLIPS.items():
            for i in range(count):
                seed += 1
                attributes = "vel_3" if domain == "target" else f"vel_{1 + i // 2 % 2}"
                label = "anomaly" if split == "test" and i % 2 else "normal"
                name = f"section_00_{domain}_{split}_{label}_{i:04d}_{attributes}.wav"
                tone = FAULT if label == "anomaly" else tones[attributes]
                write_tone(raw / f"dev_data/{machine_type}/{split}/{name}", tone, seed)
    return raw

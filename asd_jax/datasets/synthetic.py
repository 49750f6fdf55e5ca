"""Made-up machines: a small data set in the layout of DCASE 2020 or 2021 Task 2, for trials without any download."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile

from asd_jax.base.errors import UserError
from asd_jax.base.files import check_own, write_atomically
from asd_jax.base.progress import tqdm
from asd_jax.datasets import DATASETS
from asd_jax.datasets.dataset import MadeUpClip
from asd_jax.datasets.labels import LIST
from asd_jax.datasets.synthetic_sound import MADE_UP_TYPES, SAMPLE_RATE, generator, made_up_sound

TARGET_TRAIN_CLIPS = 3
"""Of each machine, as in DCASE 2021."""


def layouts() -> list[str]:
    """The data sets that can be made up."""
    return [name for name, dataset in DATASETS.items() if dataset.made_up]


def generate(
    out: str | Path,
    *,
    layout: str = "dcase2020",
    seed: int = 0,
    machine_types: Sequence[str] = tuple(MADE_UP_TYPES),
    machine_ids: Sequence[str] = ("00", "01", "02", "03"),
    train_clips: int = 40,
    test_clips: int = 20,
    seconds: float = 10.0,
) -> int:
    """Writes 16 kHz mono 16-bit WAVs and their labels under `out`, and returns the number of clips.

    The first half of the IDs is the development part, the rest the evaluation part, whose test clips bear no label in
    their names. `train_clips` counts per machine, `test_clips` per machine and label. A clip depends on the seed, its
    machine, domain, split, label and counter alone: asking for more clips leaves the former ones as they were.

    The layout "dcase2020" holds the source domain only, and `eval_data_list.csv`. In "dcase2021" the IDs are sections,
    every machine has as many test clips again in the target domain, and three training clips of it; labels are in
    `eval_data_list.csv` and in `ground_truth_data`.

    Raises:
        UserError: an unknown layout or machine type, an ID that is not two digits, or clips in `out` that are not of
            this set.
    """
    out, machine_types, machine_ids = Path(out), list(dict.fromkeys(machine_types)), list(dict.fromkeys(machine_ids))
    if layout not in layouts():
        raise UserError(f"There is no synthetic layout {layout!r}: choose from {', '.join(layouts())}.")
    for machine_type in machine_types:
        if machine_type not in MADE_UP_TYPES:
            raise UserError(
                f"There is no synthetic machine type {machine_type!r}: choose from {', '.join(MADE_UP_TYPES)}."
            )
    for machine_id in machine_ids:
        if not re.fullmatch(r"[0-9]{2}", machine_id):
            raise UserError(f"The machine ID {machine_id!r} is not two digits: write it like 00 or 13.")

    made_up = DATASETS[layout].made_up
    clips, lists = {}, {LIST: []}
    for machine_type in machine_types:
        lists[LIST].append(machine_type)
        for index, machine_id in enumerate(machine_ids):
            part = "dev" if index < (len(machine_ids) + 1) // 2 else "eval"
            for clip in _contents(seed, machine_type, machine_id, part, made_up.domains, train_clips, test_clips):
                path, rows = made_up.name(clip)
                clips[out / path] = clip
                for file, row in rows.items():
                    lists.setdefault(file, []).append(row)

    strangers = sorted(path for path in out.glob("*_data/*/*/*.wav") if path not in clips)
    if strangers:
        raise UserError(
            f"{out} already holds {len(strangers)} clips that these arguments do not make, such as "
            f"{strangers[0].relative_to(out)}: choose another folder or remove them first."
        )
    for path in lists:
        check_own(out / path, "--out", f"({'|'.join(MADE_UP_TYPES)})\\b|section_".encode(), "list of labels")
    for folder in {path.parent for path in clips}:
        folder.mkdir(parents=True, exist_ok=True)

    def write(path: Path) -> None:
        clip, wav = clips[path], io.BytesIO()
        sound = made_up_sound(
            seed, clip.machine_type, clip.machine_id, clip.split, clip.label, clip.counter, seconds, clip.domain
        )
        soundfile.write(wav, sound, SAMPLE_RATE, subtype="PCM_16", format="WAV")
        write_atomically(path, wav.getvalue())

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy and SciPy let go of the interpreter while they compute
        for _ in tqdm(pool.map(write, clips), total=len(clips), unit="clip", desc="synthetic"):
            pass
    for file, rows in lists.items():
        write_atomically(out / file, "".join(f"{row}\n" for row in rows))
    return len(clips)


def _contents(
    seed: int,
    machine_type: str,
    machine_id: str,
    part: str,
    domains: Sequence[str],
    train_clips: int,
    test_clips: int,
) -> Iterator[MadeUpClip]:
    """Yields every clip of one machine."""
    for domain in domains:
        machine = (machine_type, machine_id, part, domain)
        for counter in range(train_clips if domain == "source" else TARGET_TRAIN_CLIPS):
            yield MadeUpClip(*machine, "train", 0, counter, counter)
        for counter in range(test_clips):
            # In pairs of a normal and an anomalous clip, in random order, so that more clips follow the former.
            swapped = generator(seed, machine_type, machine_id, "order", counter).integers(2)
            for label in (0, 1):
                yield MadeUpClip(*machine, "test", label, counter, 2 * counter + (label ^ swapped))

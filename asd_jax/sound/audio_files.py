"""Which files below a folder are recordings: one walk for all commands."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"),
    *(".au", ".snd", ".caf", ".nist", ".sph", ".voc", ".avr", ".paf", ".pvf", ".ircam", ".sf", ".8svx", ".svx"),
)
"""Endings of the files that count as recordings, in any letter case: what libsndfile knows by its header."""

UNREAD = (
    *(".m4a", ".mp4", ".aac", ".wma", ".amr", ".ape", ".wv", ".tta", ".mka", ".mkv", ".webm", ".3gp", ".ac3", ".dts"),
    *(".dsf", ".dff", ".mov", ".avi", ".raw", ".pcm", ".tdms"),
)
"""Endings of files that hold sound and are not read."""


def audio_files(folder: str | os.PathLike) -> list[Path]:
    """The recordings in a folder and below it, sorted."""
    return sorted(path for path in files_below(folder) if path.name.lower().endswith(SUFFIXES))


def unread_warning(folder: str | os.PathLike) -> str | None:
    """One sentence about the recordings below a folder whose format is not read; None where there are none."""
    unread = [path for path in files_below(folder) if path.name.lower().endswith(UNREAD)]
    if not unread:
        return None
    kinds = Counter(path.suffix.lower() for path in unread)
    return (
        f"{len(unread)} files are of a format that is not read ({', '.join(f'{n} {s}' for s, n in kinds.items())}; "
        f"the first is {min(unread)}): convert them to one that is, such as .wav, .flac, .w64, .ogg or .mp3."
    )


def files_below(folder: str | os.PathLike) -> Iterator[Path]:
    """All files in a folder and below it, in no order: those of linked folders too, but nothing hidden.

    What can be reached in several ways is found once: where it lies, or where the first link to it is. So a link to a
    folder above adds nothing.
    """
    seen, waiting, links, linked_files = set(), [os.fspath(folder)], [], []
    while waiting or links:
        where = waiting.pop() if waiting else links.pop(0)
        real = os.path.realpath(where)
        if real in seen or not os.path.isdir(where):
            continue
        seen.add(real)
        with contextlib.suppress(FileNotFoundError), os.scandir(where) as entries:  # may be gone between two looks
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not is_visible(entry.name):
                    continue
                if entry.is_dir():
                    (links if entry.is_symlink() else waiting).append(entry.path)
                elif entry.is_symlink():
                    linked_files.append(entry.path)
                else:
                    yield Path(entry.path)
    for path in linked_files:
        real = os.path.realpath(path)
        found = os.path.dirname(real) in seen and is_visible(os.path.basename(real)) and os.path.exists(real)
        if not found and real not in seen:
            seen.add(real)
            yield Path(path)


def is_visible(name: str) -> bool:
    """False for what is hidden and what operating systems leave behind: `.DS_Store`, `._clip.wav`, `__MACOSX`."""
    return not name.startswith(".") and name != "__MACOSX"

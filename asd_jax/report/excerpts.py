"""What is seen and heard of single clips: log-mel, scores of the windows along time, sound."""

import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS
from asd_jax.datasets.clips import Clip, StoredClip
from asd_jax.report.findings import Findings, Part
from asd_jax.sound.audio import read_audio
from asd_jax.sound.features import FeaturePreset
from asd_jax.sound.log_mels import LogMels

EXCERPT_SECONDS = 12.0
"""Of an excerpt at most: of longer clips the surroundings of the window with the highest score are shown."""

_LOUDEST = 0.9  # of full scale
_COMPRESSION = 0.8  # 40 kbit a second


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """One clip, or a piece of it.

    Attributes:
        first: seconds of the clip before it.
        log_mel: [frames, mels], to be looked at.
        preset: that it is of.
        starts: [windows] seconds in the clip where the windows begin that lie within the excerpt.
        window: seconds of a window.
        scores: [windows] their anomaly scores, the mean over the runs.
        wave: [samples] mono, or None where there is no recording.
        sample_rate: of `wave`, Hz.
    """

    first: float
    log_mel: np.ndarray
    preset: LogMels
    starts: np.ndarray
    window: float
    scores: np.ndarray
    wave: np.ndarray | None
    sample_rate: int

    @property
    def seconds(self) -> float:
        return len(self.log_mel) * self.preset.hop / self.preset.sample_rate

    @property
    def highest(self) -> tuple[float, float]:
        """Where in the clip the window with the highest score begins and ends, in seconds."""
        begin = float(self.starts[self.scores.argmax()])
        return begin, begin + self.window


def cut_excerpts(findings: Findings, part: Part, names: Sequence[str], raw_dir: str | None) -> dict[str, Excerpt]:
    """Excerpts of the named clips that the records hold, by name; with sound where `raw_dir` holds the recordings.

    Raises:
        UserError: a record is damaged, or the inlier models are gone.
    """
    wanted = {part.clips[name]: name for name in names if name in part.clips}
    if findings.store is None or not wanted:
        return {}
    stored = {clip: features for clip, features in findings.store.clips(part.machine, "test") if clip in wanted}
    clips, trained, preset = list(stored), findings.scorer.trained, findings.store.preset
    paths = _recordings(findings, part, clips, raw_dir)
    excerpts, channel = {}, findings.store.find(part.machine).channel
    for clip, of_windows in findings.scorer.window_scores(stored.items()):
        features = stored[clip]
        starts = np.asarray(trained.method.starts(len(features)))
        wave = _read(paths[clip], preset.sample_rate, channel) if clip in paths else None
        excerpts[wanted[clip]] = _around_highest(preset, features, starts, trained.recipe.window, of_windows, wave)
    return excerpts


def _around_highest(
    preset: FeaturePreset,
    features: np.ndarray,
    starts: np.ndarray,
    window: int,
    scores: np.ndarray,
    wave: np.ndarray | None,
) -> Excerpt:
    length = max(int(EXCERPT_SECONDS * preset.sample_rate / preset.hop), window)
    middle = starts[scores.argmax()] + window // 2
    first = int(np.clip(middle - length // 2, 0, max(len(features) - length, 0)))
    within = (starts >= first) & (starts + window <= first + length)
    frame = preset.hop / preset.sample_rate
    if wave is not None:
        wave = wave[first * preset.hop : (first + length) * preset.hop]
    seen = preset.picture(features[first : first + length])
    times = (first * frame, *seen, starts[within] * frame, (window - 1) * frame)
    return Excerpt(*times, scores[within], wave, preset.sample_rate)


def _recordings(
    findings: Findings, part: Part, clips: Sequence[StoredClip], raw_dir: str | None
) -> dict[StoredClip, str]:
    """The files that the clips were prepared from, as far as `raw_dir` holds them."""
    if raw_dir is None:
        return {}
    dataset = findings.store.find(part.machine).dataset
    try:
        listed = DATASETS[dataset].list_clips(raw_dir, machine_types=[part.machine[0]])
    except UserError as error:  # of several workdirs, one may be of another data set
        findings.notes.append(f"No sound of {part.name}: {error}")
        return {}
    found = {}
    for clip in clips:
        paths = [one.path for one in listed if _is_of(one, clip)]
        if paths:  # a folder of its own may hold another one of the same name
            found[clip] = min(paths, key=len)
    return found


def _is_of(listed: Clip, stored: StoredClip) -> bool:
    name = Path(stored.name).parts
    same = (listed.machine, listed.part, listed.domain) == (stored.machine, stored.part, stored.domain)
    return same and listed.split == "test" and Path(listed.path).parts[-len(name) :] == name


def _read(path: str, sample_rate: int, channel: int | None) -> np.ndarray | None:
    try:
        return read_audio(path, sample_rate, channel)
    except UserError:  # it was whole when it was prepared; a page without this sound is worth having
        return None


def gain(excerpts: Iterable[Excerpt]) -> float:
    """The factor that makes the loudest of all just fit: one for all, so that a louder clip sounds louder."""
    peaks = [np.abs(one.wave).max(initial=0.0) for one in excerpts if one.wave is not None]
    return _LOUDEST / max([*peaks, 1e-6])


def mp3(wave: np.ndarray, sample_rate: int) -> bytes:
    """A waveform [samples] as an MP3 file: 5 KB a second at 16 kHz."""
    content = io.BytesIO()
    soundfile.write(content, wave, sample_rate, format="MP3", bitrate_mode="CONSTANT", compression_level=_COMPRESSION)
    return content.getvalue()

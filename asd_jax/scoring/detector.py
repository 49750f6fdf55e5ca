"""A trained workdir as what one wants of it for new sound: features, a score, a decision."""

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Iterable

import numpy as np

from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import Machine, StoredClip
from asd_jax.models.norms import DATA
from asd_jax.recipes.workdir import Workdir
from asd_jax.scoring.scorer import Scorer
from asd_jax.scoring.thresholds import thresholds
from asd_jax.scoring.trained import Trained, load_trained
from asd_jax.sound.audio import read_audio
from asd_jax.sound.features import FeaturePreset, WaveStatistics
from asd_jax.sound.presets import PRESETS


@dataclasses.dataclass(frozen=True)
class Detector:
    """Scores new sound of one machine.

    Attributes:
        scorer: the networks and backends of all runs; a score is the mean over the runs.
        machine: which was recorded.
        preset: of the features.
        statistics: of the machine type's waveforms, where the preset takes them.
        threshold: above it a clip is decided anomalous; None where the training held no clips back.
        channel: of recordings, from 0; the mean over all where None.
    """

    scorer: Scorer
    machine: Machine
    preset: FeaturePreset
    statistics: WaveStatistics | None
    threshold: float | None
    channel: int | None = None

    @property
    def trained(self) -> Trained:
        """The networks."""
        return self.scorer.trained

    @property
    def window_seconds(self) -> float:
        """The shortest sound that can be scored."""
        return (self.trained.recipe.window - 1) * self.preset.hop / self.preset.sample_rate

    def read(self, path: str, rates: Counter[int] | None = None) -> np.ndarray:
        """The waveform [samples] of a recording; `rates` and errors as in `read_audio`."""
        return read_audio(path, self.preset.sample_rate, self.channel, rates)

    def features(self, wave: np.ndarray, name: str) -> np.ndarray:
        """The features [frames, ...] of a waveform; a UserError that begins with `name` says that it is too short."""
        features = self.preset.compute(wave, name, self.statistics)
        if len(features) < self.trained.recipe.window:
            raise UserError(
                f"{name} is too short: it has {len(features)} frames, one window takes {self.trained.recipe.window} "
                f"({self.window_seconds:.2f} s)."
            )
        return features

    def scores(self, clips: Iterable[tuple[str, np.ndarray]], batch_size: int | None = None) -> np.ndarray:
        """The anomaly scores [clips] of (name, features); larger is more anomalous."""
        stored = ((StoredClip(self.machine, name, -1, "source", ""), features) for name, features in clips)
        return self.scorer.clip_scores(stored, batch_size=batch_size)[1].mean(0)

    def score_alone(self, name: str, features: np.ndarray) -> float:
        """The score of one clip, in a batch no larger than its windows need: few shapes, powers of two."""
        split = self.trained.mesh.shape[DATA]
        rows = split << (-(-len(self.trained.method.starts(len(features))) // split) - 1).bit_length()
        return self.scores([(name, features)], min(self.trained.recipe.batch_size, rows)).item()

    def decision(self, score: float) -> str:
        """ "anomalous" or "normal"; nothing without a threshold or a score (NaN)."""
        if self.threshold is None or np.isnan(score):
            return ""
        return "anomalous" if score > self.threshold else "normal"


def load_detector(
    workdir: str, target_fpr: float, machine_id: str | None = None, score_hop: int | None = None
) -> Detector:
    """A trained workdir, with the threshold that a share `target_fpr` of normal clips exceeds.

    `machine_id` says which of the workdir's machines was recorded, where it knows several. `score_hop`: frames between
    the windows of a clip; the recipe's where None. WORKDIR/threshold.json (threshold_hop_N.json by another hop) says
    which threshold and how it was found.
    """
    scorer = Scorer(load_trained(Workdir(workdir), score_hop=score_hop))
    trained = scorer.trained
    machine = _recorded_machine(trained, machine_id)
    scorer.describe()
    try:
        threshold = thresholds(scorer, target_fpr).get("/".join(machine))
    except UserError as error:  # scores are worth having without it
        print(f"No threshold: {error}")
        threshold = None
    summary, preset = trained.workdir.summary, PRESETS[trained.recipe.features]
    channel = (summary.channels or {}).get("/".join(machine))
    return Detector(scorer, machine, preset, summary.wave_statistics.get(machine[0]), threshold, channel)


def _recorded_machine(trained: Trained, machine_id: str | None) -> Machine:
    """The machine of that ID, or of "type/ID" where the workdir knows several types."""
    of_type = len({machine_type for machine_type, _ in trained.machines}) == 1
    machine_id = machine_id and unicodedata.normalize("NFC", machine_id)
    names = {machine[1] if of_type else "/".join(machine): machine for machine in trained.machines}
    if machine_id is None and len(names) > 1:
        raise UserError(f"The workdir knows several machines ({', '.join(names)}): say which one by --machine_id.")
    if machine_id not in (None, *names):
        raise UserError(f"--machine_id={machine_id} was given, but the workdir knows {', '.join(names)}.")
    return trained.machines[0] if machine_id is None else names[machine_id]

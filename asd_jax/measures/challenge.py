"""What a challenge measures of the test clips of one score file, and what it makes of all files together."""

import dataclasses
from collections.abc import Sequence

from asd_jax.measures import metrics


@dataclasses.dataclass(frozen=True)
class ScoredClips:
    """The test clips of one score file.

    Attributes:
        labels: [N], 0 normal, 1 anomaly.
        scores: [N] anomaly scores, larger is more anomalous.
        domains: [N], "source" or "target".
        decisions: [N], 0 normal, 1 anomaly; None where the system made none.
    """

    labels: Sequence[int]
    scores: Sequence[float]
    domains: Sequence[str]
    decisions: Sequence[int] | None = None


class Measures:
    """What DCASE 2020 Task 2 measures: AUC and pAUC of every machine ID; the mean of all is the official score.

    Attributes:
        columns: names of what `measure` gives.
        decided: names of what `measure_decisions` gives.
        harmonic: whether files of results have harmonic means too, and means over all machine types.
    """

    columns: tuple[str, ...] = ("AUC", "pAUC")
    decided: tuple[str, ...] = ("precision", "recall", "F1 score")
    harmonic: bool = False

    def measure(self, clips: ScoredClips) -> tuple[float, ...]:
        """The measures of one file; a UserError says that all its clips have one label."""
        return metrics.auc(clips.labels, clips.scores), metrics.pauc(clips.labels, clips.scores)

    def measure_decisions(self, clips: ScoredClips) -> tuple[float, ...]:
        """The measures of the decisions; errors as in `measure`."""
        return metrics.precision_recall_f1(clips.labels, clips.decisions)

    def official_score(self, rows: Sequence[Sequence[float]]) -> float:
        """The official score of all files' measures [files, columns]."""
        return metrics.arithmetic_mean([[value] for row in rows for value in row])[0]


class HarmonicMeasures(Measures):
    """What DCASE 2021 Task 2 measures: the official score is the harmonic mean over all sections and domains."""

    harmonic = True

    def official_score(self, rows: Sequence[Sequence[float]]) -> float:
        """Over machine types, sections and domains together."""
        return metrics.harmonic_mean_of_all(*zip(*rows, strict=True))

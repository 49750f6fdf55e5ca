"""The thresholds that decide on clips: quantiles of a law fitted to the scores of normal clips."""

import errno
import json
import logging
from collections.abc import Sequence

import numpy as np
import scipy.stats

from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.scoring.held_back import held_back_scores
from asd_jax.scoring.scorer import Scorer


def thresholds(scorer: Scorer, target_fpr: float) -> dict[str, float]:
    """Machine, as "type/ID" -> the threshold that a share `target_fpr` of normal clips exceeds.

    Empty where no clips were held back. WORKDIR/threshold.json, with the suffix of `Trained`, says how they were found.
    """
    scores = held_back_scores(scorer)
    if not scores:
        return {}
    found = {name: gamma_threshold(list(mine.values()), 1 - target_fpr) for name, mine in scores.items()}
    content = {
        "thresholds": found,
        "target_fpr": target_fpr,
        **scorer.origin,
        "law": f"{1 - target_fpr:g} quantile of a gamma law fitted by moments",
        "scores_of_held_back_normal_clips": scores,
    }
    path = scorer.trained.workdir.thresholds(scorer.trained.suffix)
    try:
        write_atomically(path, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        logging.warning("%s cannot be written (%s): the thresholds are used all the same.", path, error.strerror)
    return found


def gamma_threshold(scores: Sequence[float], quantile: float) -> float:
    """The anomaly score that a share `quantile` of normal clips stays below, by a gamma law fitted to normal scores.

    A clip is decided anomalous where its score is above the threshold. The DCASE 2021 baselines take the 0.9 quantile.
    They fit shape, location and scale by maximum likelihood, whose likelihood has no maximum for some scores (its
    location runs into the smallest one, or to minus infinity). Here the law is the one with the scores' mean, standard
    deviation and skewness, which exists for scores of any sign and moves along when they are shifted or scaled.
    A gamma law leans to the right: for scores that lean to the left, skewness 0 is taken, its limit, a normal law.
    Equal scores are their own threshold.

    Args:
        scores: [N] anomaly scores of normal clips, N >= 2.
        quantile: between 0 and 1.

    Raises:
        UserError: fewer than two scores, or one that is not finite.
    """
    scores = np.asarray(scores, dtype=float)
    if len(scores) < 2:
        raise UserError(
            f"A threshold needs scores of at least 2 normal clips, found {len(scores)}: hold back more clips."
        )
    if not np.isfinite(scores).all():
        raise UserError("A threshold needs finite scores of normal clips, found NaN or infinity among them.")
    if np.ptp(scores) == 0:
        return float(scores[0])
    mean, deviation = scores.mean(), scores.std()
    skewness = max(0.0, np.mean(((scores - mean) / deviation) ** 3))
    # Pearson's type III is the gamma law written with mean, standard deviation and skewness.
    return float(scipy.stats.pearson3.ppf(quantile, skewness, loc=mean, scale=deviation))

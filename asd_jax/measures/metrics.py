"""How well anomaly scores separate anomalous clips from normal ones, as the DCASE challenges measure it."""

import sys
import types
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from asd_jax.base.errors import UserError

MAX_FPR = 0.1
"""pAUC looks at false positive rates up to this one (DCASE Task 2, 2020 and 2021)."""


def auc(labels: Sequence[int], scores: Sequence[float]) -> float:
    """Area under the ROC curve of N clips.

    Args:
        labels: [N], 0 normal, 1 anomaly.
        scores: [N] anomaly scores, larger is more anomalous.

    Raises:
        UserError: the labels are all the same.
    """
    _check_both_classes(labels)
    return float(_sklearn().roc_auc_score(labels, scores))


def pauc(labels: Sequence[int], scores: Sequence[float]) -> float:
    """Area under the ROC curve up to a false positive rate of 0.1, standardised (McClish): 0.5 is chance, 1 perfect.

    Arguments and errors as in `auc`.
    """
    _check_both_classes(labels)
    return float(_sklearn().roc_auc_score(labels, scores, max_fpr=MAX_FPR))


def precision_recall_f1(labels: Sequence[int], decisions: Sequence[int]) -> tuple[float, float, float]:
    """Precision, recall and F1 score of N decisions (1 says anomaly); each is 0 where its denominator is.

    Raises:
        UserError: the labels are all the same.
    """
    _check_both_classes(labels)
    precision = float(_sklearn().precision_score(labels, decisions, zero_division=0))
    recall = float(_sklearn().recall_score(labels, decisions, zero_division=0))
    # scikit-learn's f1_score goes through the counts and may differ from the challenge's files in the last digit.
    f1 = 2 * precision * recall / max(precision + recall, sys.float_info.epsilon)
    return precision, recall, f1


def arithmetic_mean(rows: ArrayLike) -> list[float]:
    """Mean of every column of [rows, measures]."""
    # Down the columns of one 2-D array: a 1-D mean adds in another order and differs in the last digit.
    return np.mean(np.asarray(rows, dtype=float), axis=0).tolist()


def harmonic_mean(rows: ArrayLike) -> list[float]:
    """Harmonic mean of every column of [rows, measures]; a value below machine epsilon counts as machine epsilon."""
    values = np.maximum(np.asarray(rows, dtype=float), sys.float_info.epsilon)
    # As scipy.stats.hmean was when the challenge used it: today's 1 / mean(1 / x) differs in the last digit.
    return (len(values) / np.sum(1 / values, axis=0)).tolist()


def harmonic_mean_of_all(*measures: Sequence[float]) -> float:
    """Harmonic mean of several measures' values together, such as all AUCs and pAUCs."""
    return harmonic_mean([[value] for values in measures for value in values])[0]


def _sklearn() -> types.ModuleType:
    import sklearn.metrics  # takes seconds, and listing a data set measures nothing

    return sklearn.metrics


def _check_both_classes(labels: Sequence[int]) -> None:
    found = sorted(set(labels))
    if found != [0, 1]:
        what = {(): "there is no clip", (0,): f"all {len(labels)} are normal", (1,): f"all {len(labels)} are anomalous"}
        reason = what.get(tuple(found), f"found the labels {found}")
        raise UserError(f"Measuring needs normal clips (label 0) and anomalous ones (label 1), but {reason}.")

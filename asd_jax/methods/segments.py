"""The overlapping segments of paper 2, which a clip is scored by."""

import numpy as np


def segment_starts(frames: int, window: int, segments: int = 10) -> np.ndarray:
    """First frames of the overlapping segments that a clip is cut into (Kuroyanagi et al., EUSIPCO 2022).

    Args:
        frames: of the clip, at least one window.
        window: frames of a segment; 2 s in the paper.
        segments: how many, at least 2.

    Returns:
        [segments], from 0, evenly spaced by whole frames; the last segment ends where the clip ends.
    """
    starts = np.arange(segments) * ((frames - window) // (segments - 1))
    starts[-1] = frames - window
    return starts

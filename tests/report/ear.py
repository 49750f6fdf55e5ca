"""A detector that needs no training."""

import numpy as np

from asd_jax.scoring.trained import Trained


class Ear(Trained):
    """Two runs that hear the high tone against the low one, and are noisy."""

    def outputs(self, clips, total=None, batch_size=None):
        for clip, log_mel in clips:
            windows = log_mel[self.method.starts(len(log_mel))[:, None] + np.arange(32)].astype(np.float32)
            bands = windows.mean(1)
            rng = np.random.default_rng(int(-100 * bands.sum()))
            heard = bands[:, 75:85].mean(1) - bands[:, 25:35].mean(1)
            yield clip, {"score": heard + 6 * rng.normal(size=(2, 1)) + rng.normal(size=(2, len(windows)))}

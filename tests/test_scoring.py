"""Every window of every clip is scored exactly once."""

import numpy as np
import pytest

from asd_jax.scoring import window_batches


@pytest.mark.parametrize("hop", [1, 3])
@pytest.mark.parametrize("lengths", [[4], [4, 9, 6, 17], [30, 4, 4, 4, 4, 4]])
def test_windows_of_many_clips_share_batches_and_none_is_lost_or_twice(lengths, hop):
    clips = [100.0 * i + np.arange(n)[:, None] + np.zeros((1, 3)) for i, n in enumerate(lengths)]
    seen = []
    for windows, owners in window_batches(clips, window=4, hop=hop, batch_size=5):
        assert windows.shape == (5, 4, 3) and owners.shape == (5,)
        for window, owner in zip(windows, owners, strict=True):
            if owner >= 0:
                np.testing.assert_array_equal(np.diff(window[:, 0]), 1)
                assert window[0, 0] // 100 == owner
                seen.append(window[0, 0])
    expected = [100 * i + start for i, n in enumerate(lengths) for start in range(0, n - 4 + 1, hop)]
    assert sorted(seen) == sorted(expected)
    assert len(seen) == len(set(seen))

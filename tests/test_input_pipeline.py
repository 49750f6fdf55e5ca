"""The batches, against the papers' rules."""

import numpy as np
import pytest
import tensorflow as tf

from asd_jax import input_pipeline
from asd_jax.clips import StoredClip
from asd_jax.errors import UserError

WINDOW, MELS, HALF = 4, 3, 4
PRODUCTS = np.array([2, 0, 1, 1, 0])  # of the target clips of `pool`


def clips(lengths, first_value=0):
    """Frame f of clip c holds the value 1000 c + f, so that a window tells where it is from."""
    parts = [1000.0 * (first_value + i) + np.arange(n)[:, None] + np.zeros((1, MELS)) for i, n in enumerate(lengths)]
    length = np.array(lengths)
    stored = tuple(
        StoredClip(("fan", "00"), f"clip_{first_value + i}", 0, "source", "dev") for i in range(len(lengths))
    )
    return input_pipeline.LogMels(
        tf.constant(np.concatenate(parts), tf.float32), length.cumsum() - length, length, stored
    )


@pytest.fixture
def pool():
    everything = clips([6, 9, 4, 7, 5, 8, 10, 11, 12, 4, 5])
    return everything.select(range(5)), everything.select(range(5, 11))


def batches(pool, num_steps=4, first_step=0, runs=(0,), seed=3, **options):
    normal, outliers = pool
    options = {"batch_size": 2 * HALF, "window": WINDOW, **options}
    found = input_pipeline.batches(
        normal, outliers, PRODUCTS, seed=seed, runs=runs, first_step=first_step, num_steps=num_steps, **options
    )
    return list(found)


def origin(batch):
    """Clip numbers and first frames [runs, rows]; checks that each window is a stretch of consecutive frames."""
    log_mel = batch["log_mel"]
    np.testing.assert_array_equal(np.diff(log_mel, axis=2), 1)
    return (log_mel[:, :, 0, 0] // 1000).astype(int), (log_mel[:, :, 0, 0] % 1000).astype(int)


def test_every_batch_is_half_normal_half_outliers_and_of_one_shape(pool):
    for batch in batches(pool):
        assert batch["log_mel"].shape == (1, 2 * HALF, WINDOW, MELS)
        clip, _ = origin(batch)
        np.testing.assert_array_equal(clip >= 5, [[False] * HALF + [True] * HALF])
        np.testing.assert_array_equal(batch["product"], np.append(PRODUCTS, [-1] * 6)[clip])


def test_an_epoch_shows_every_normal_clip_and_fills_the_last_batch_with_others(pool):
    for epoch in range(2):
        shown = [origin(b)[0][0, :HALF] for b in batches(pool)[2 * epoch : 2 * epoch + 2]]
        shown = np.concatenate(shown)
        assert sorted(shown[:5]) == [0, 1, 2, 3, 4]
        assert len(set(shown[5:])) == 3  # a further order: no clip twice


def test_epochs_runs_and_seeds_differ_and_each_is_repeatable(pool):
    def flat(**options):
        return np.stack([np.stack(origin(b)) for b in batches(pool, **options)])

    base = flat(runs=(0, 1), num_steps=40)
    np.testing.assert_array_equal(base, flat(runs=(0, 1), num_steps=40))
    assert (base[:, :, 0] != base[:, :, 1]).any()
    assert (base[:2] != base[2:4]).any()
    assert (base != flat(runs=(0, 1), num_steps=40, seed=4)).any()
    np.testing.assert_array_equal(base[:, :, 1:], flat(runs=(1,), num_steps=40))


def test_starting_late_gives_the_same_batches(pool):
    whole, late = batches(pool, 9), batches(pool, 9, first_step=3)
    assert len(late) == 6
    for one, other in zip(whole[3:], late, strict=True):
        np.testing.assert_array_equal(one["log_mel"], other["log_mel"])


def test_outliers_are_drawn_uniformly_and_windows_reach_both_ends(pool):
    clip, start = zip(*(origin(b) for b in batches(pool, 600)), strict=True)
    clip, start = np.concatenate(clip), np.concatenate(start)
    counts = np.bincount(clip[:, HALF:].ravel(), minlength=11)[5:]
    assert abs(counts / counts.sum() - 1 / 6).max() < 0.03
    lengths = np.concatenate([pool[0].length, pool[1].length])
    for i, length in enumerate(lengths):
        seen = start[clip == i]
        assert seen.min() == 0 and seen.max() == length - WINDOW
        assert set(seen) == set(range(length - WINDOW + 1))


def test_a_number_of_outliers_is_fixed_within_a_run(pool):
    found = [set(origin(b)[0][:, HALF:].ravel()) for b in batches(pool, 40, num_outliers=2)]
    assert len(set.union(*found)) == 2
    other = [set(origin(b)[0][:, HALF:].ravel()) for b in batches(pool, 40, num_outliers=2, runs=(1,), seed=5)]
    assert set.union(*other) != set.union(*found)
    assert len(set.union(*(set(origin(b)[0][:, HALF:].ravel()) for b in batches(pool, 40, num_outliers=99)))) == 6


def test_hosts_hold_the_parts_of_one_batch(pool):
    [whole], [top], [bottom] = (batches(pool, 1, rows=rows) for rows in (None, range(4), range(4, 8)))
    for name in whole:
        np.testing.assert_array_equal(whole[name], np.concatenate([top[name], bottom[name]], 1))


def test_clips_held_back_are_not_trained_on(pool):
    train, held = input_pipeline.hold_back(pool[0], 2, seed=0)
    assert sorted(train.names + held.names) == sorted(pool[0].names)
    assert len(held) == 2
    assert input_pipeline.hold_back(pool[0], 2, seed=0)[1].names == held.names
    with pytest.raises(UserError, match="Holding back 5 clips of fan/00"):
        input_pipeline.hold_back(pool[0], 5, seed=0)

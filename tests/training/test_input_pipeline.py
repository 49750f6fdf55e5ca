"""The batches, against the papers' rules."""

import numpy as np
import pytest
import tensorflow as tf

from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import StoredClip
from asd_jax.training import input_pipeline
from asd_jax.training.clip_features import ClipFeatures
from asd_jax.training.data import hold_back
from asd_jax.training.input_pipeline import EveryWindowSampler, HalfOutliersSampler

WINDOW, MELS, HALF = 4, 3, 4
PRODUCTS = np.array([2, 0, 1, 1, 0])  # of the target clips of `pool`


def clips(lengths, first_value=0):
    """Frame f of clip c holds the value 1000 c + f, so that a window tells where it is from."""
    parts = [1000.0 * (first_value + i) + np.arange(n)[:, None] + np.zeros((1, MELS)) for i, n in enumerate(lengths)]
    length = np.array(lengths)
    stored = tuple(
        StoredClip(("fan", "00"), f"clip_{first_value + i}", 0, "source", "dev") for i in range(len(lengths))
    )
    return ClipFeatures(tf.constant(np.concatenate(parts), tf.float32), length.cumsum() - length, length, stored)


@pytest.fixture
def pool():
    everything = clips([6, 9, 4, 7, 5, 8, 10, 11, 12, 4, 5])
    return everything.select(range(5)), everything.select(range(5, 11))


def blocks_of(sampler, first_step=0, runs=(0,), seed=3, num_epochs=2, steps=1, window=WINDOW, rows=None):
    options = {"first_step": first_step, "num_epochs": num_epochs, "steps": steps, "window": window, "rows": rows}
    return list(input_pipeline.blocks(sampler, seed=seed, runs=runs, **options))


def batches(pool, num_steps=4, first_step=0, num_outliers=None, **options):
    """Of single steps; two make an epoch."""
    sampler = HalfOutliersSampler(*pool, {"product": PRODUCTS}, 2 * HALF, WINDOW, num_outliers)
    found = blocks_of(sampler, first_step, num_epochs=-(-num_steps // 2), **options)
    assert all(block.count == 1 for block in found)
    return [{name: array[0] for name, array in block.arrays.items()} for block in found[: num_steps - first_step]]


def origin(batch):
    """Clip numbers and first frames [runs, rows]; checks that each window is a stretch of consecutive frames."""
    log_mel = batch["features"]
    np.testing.assert_array_equal(np.diff(log_mel, axis=2), 1)
    return (log_mel[:, :, 0, 0] // 1000).astype(int), (log_mel[:, :, 0, 0] % 1000).astype(int)


def test_every_batch_is_half_normal_half_outliers_and_of_one_shape(pool):
    for batch in batches(pool):
        assert batch["features"].shape == (1, 2 * HALF, WINDOW, MELS)
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
        np.testing.assert_array_equal(one["features"], other["features"])


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
    train, held = hold_back(pool[0], 2, seed=0)
    assert sorted(train.names + held.names) == sorted(pool[0].names)
    assert len(held) == 2
    assert hold_back(pool[0], 2, seed=0)[1].names == held.names
    with pytest.raises(UserError, match="Holding back 5 clips of fan/00"):
        hold_back(pool[0], 5, seed=0)


def test_an_epoch_of_every_window_shows_each_once_and_fills_the_last_batch_with_others(pool):
    clips, products = pool[0], PRODUCTS
    for hop in (1, 3):
        sampler = EveryWindowSampler(clips, {"product": products}, batch_size=6, window=WINDOW, hop=hop)
        every = [(c, s) for c, n in enumerate(clips.length) for s in range(0, n - WINDOW + 1, hop)]
        assert sampler.epoch_steps == -(-len(every) // 6)
        for epoch in range(2):
            found = blocks_of(sampler, sampler.epoch_steps * epoch, num_epochs=epoch + 1)
            clip, start = (np.concatenate(x, 1)[0] for x in zip(*(origin(_first(b)) for b in found), strict=True))
            shown = list(zip(clip.tolist(), start.tolist(), strict=True))
            assert sorted(shown[: len(every)]) == every and shown[: len(every)] != every
            assert len(set(shown[len(every) :])) == len(shown) - len(every) < 6
            assert [b.arrays["product"][0, 0].tolist() for b in found] == products[clip].reshape(-1, 6).tolist()


def _first(block):
    return {name: array[0] for name, array in block.arrays.items()}


@pytest.mark.parametrize("first_step", [0, 1, 4, 5])
def test_blocks_hold_the_same_steps_as_single_ones_and_end_with_the_epoch(pool, first_step):
    sampler = EveryWindowSampler(pool[0], {"product": PRODUCTS}, batch_size=4, window=WINDOW, hop=1)
    assert sampler.epoch_steps == 4
    single = blocks_of(sampler, first_step, runs=(0, 2), num_epochs=3)
    blocks = blocks_of(sampler, first_step, runs=(0, 2), num_epochs=3, steps=3)
    assert {block.arrays["product"].shape for block in blocks} == {(3, 2, 4)}
    assert [step for b in blocks for step in range(b.first_step, b.first_step + b.count)] == list(range(first_step, 12))
    assert all(b.first_step // 4 == (b.first_step + b.count - 1) // 4 for b in blocks)
    for name in ("features", "product"):
        many = np.concatenate([b.arrays[name][: b.count] for b in blocks])
        np.testing.assert_array_equal(many, np.concatenate([b.arrays[name] for b in single]))


def test_first_frames_tell_the_devices_which_windows_to_cut_out(pool):
    sampler = HalfOutliersSampler(*pool, {"product": PRODUCTS}, 2 * HALF, WINDOW)
    for there, here in zip(blocks_of(sampler, window=None), blocks_of(sampler), strict=True):
        assert "log_mel" not in there.arrays
        cut = sampler.frames.numpy()[there.arrays["first"][..., None] + np.arange(WINDOW)]
        np.testing.assert_array_equal(cut, here.arrays["features"])


def test_the_last_window_of_each_clip_alone(pool):
    target, outliers = pool
    for batch in batches((target, outliers.last_windows(WINDOW)), 40):
        clip, start = origin(batch)
        lengths = np.concatenate([target.length, outliers.length])
        np.testing.assert_array_equal(start[:, HALF:], (lengths[clip] - WINDOW)[:, HALF:])

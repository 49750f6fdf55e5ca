"""Paper 2's losses and Mixup, by hand; and the system on any number of devices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.methods.multitask import Mixup, MultiTask, Samples, machine_loss, mix, product_loss
from asd_jax.models.norms import DATA
from tests.tiny_encoder import TinyEncoder

TINY = MultiTask(TinyEncoder(3, DATA), window=32, n_mels=32)


def cross_entropy(logit, target):
    probability = 1 / (1 + np.exp(-logit))
    return -target * np.log(probability) - (1 - target) * np.log(1 - probability)


def test_machine_loss_by_hand():
    expected = (cross_entropy(2.0, 1) + cross_entropy(-1.0, 0) + cross_entropy(0.5, 0.3)) / 3
    found = machine_loss(jnp.array([2.0, -1.0, 0.5]), jnp.array([1.0, 0.0, 0.3]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_product_loss_is_over_the_target_samples_and_divided_by_their_share_and_the_ids():
    logits = np.array([[1.0, -2.0], [3.0, 3.0], [0.5, 0.0]])
    products = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.4]])
    weight = np.array([1.0, 0.0, 0.4])
    by_sample = [
        sum(cross_entropy(a, b) for a, b in zip(*pair, strict=True)) for pair in zip(logits, products, strict=True)
    ]
    expected = (by_sample[0] + 0.4 * by_sample[2]) / (2 * 1.4)
    np.testing.assert_allclose(product_loss(*map(jnp.asarray, (logits, products, weight))), expected, rtol=1e-6)


def test_a_batch_without_a_target_sample_gives_a_finite_loss_and_gradient():
    value, grad = jax.value_and_grad(product_loss)(jnp.ones((4, 2)), jnp.zeros((4, 2)), jnp.zeros(4))
    assert value == 0 and (grad == 0).all()


def samples(count=6):
    log_mel = jnp.asarray(np.random.default_rng(0).normal(0, 10, (count, 3, 2)), jnp.float32)
    target = jnp.array([1.0] * (count // 2) + [0.0] * (count - count // 2))
    return Samples(log_mel, target, target[:, None] * jax.nn.one_hot(jnp.arange(count) % 2, 2))


def test_mixup_blends_inputs_and_targets_of_two_samples_by_one_coefficient():
    plain = samples(64)
    mixed = mix(jax.random.key(1), plain, Mixup(alpha=1.0), 0.0, None)
    plain, mixed = jax.device_get((plain, mixed))
    shares = []
    for i in range(64):
        # The partner is the sample of which exactly one share explains all values.
        found = []
        for j in set(range(64)) - {i}:
            difference = plain.log_mel[j] - plain.log_mel[i]
            share = np.mean((mixed.log_mel[i] - plain.log_mel[i]) / difference)
            if np.allclose(plain.log_mel[i] + share * difference, mixed.log_mel[i], atol=1e-3):
                found.append((j, share))
        if np.allclose(mixed.log_mel[i], plain.log_mel[i], atol=1e-4):
            continue  # its own partner, or a share of next to nothing
        [(j, share)] = found
        shares.append(share)
        np.testing.assert_allclose(mixed.target[i], (1 - share) * plain.target[i] + share * plain.target[j], atol=1e-3)
        np.testing.assert_allclose(
            mixed.products[i], (1 - share) * plain.products[i] + share * plain.products[j], atol=1e-3
        )
    assert len(shares) > 50 and np.std(shares) > 0.2
    assert ((mixed.target > 0.01) & (mixed.target < 0.99)).sum() > 10  # targets with other machines too


def test_coefficients_follow_the_beta_law():
    ones = Samples(jnp.ones((4000, 1, 1)), jnp.ones(4000), jnp.ones((4000, 1)))
    half = ones._replace(target=jnp.arange(4000) % 2.0)
    share = np.asarray(mix(jax.random.key(0), half, Mixup(alpha=0.2), 0.0, None).target)
    share = share[(share > 0) & (share < 1)]  # pairs of different targets
    # Beta(0.2, 0.2): symmetric, with the variance 1 / (4 (2 alpha + 1)).
    np.testing.assert_allclose(share.mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(share.var(), 1 / (4 * 1.4), atol=0.01)


def test_mixing_powers_adds_what_the_decibels_stand_for():
    plain = Samples(jnp.array([[[0.0]], [[20.0]]]), jnp.array([1.0, 0.0]), jnp.zeros((2, 1)))
    for seed in range(20):
        mixed = mix(jax.random.key(seed), plain, Mixup(alpha=1.0, domain="power"), 0.0, None)
        share = mixed.target[0]  # of the first sample, where it is mixed with the other
        if 0.1 < share < 0.9:
            np.testing.assert_allclose(mixed.log_mel[0, 0, 0], 10 * np.log10(share + (1 - share) * 100), rtol=1e-5)
            return
    pytest.fail("no seed mixed the two samples")


@pytest.mark.parametrize(
    ("schedule", "at_begin", "at_end"), [("always", 1.0, 1.0), ("falling", 1.0, 0.0), ("rising", 0.0, 1.0)]
)
def test_schedules_run_between_never_and_always(schedule, at_begin, at_end):
    plain = samples(8)
    for progress, expected in ((0.0, at_begin), (1.0, at_end)):
        mixup = Mixup(alpha=1.0, schedule=schedule)
        changed = [
            not np.array_equal(mix(jax.random.key(s), plain, mixup, progress, None).log_mel, plain.log_mel)
            for s in range(10)
        ]
        assert np.mean(changed) == expected


def test_without_alpha_nothing_is_mixed():
    plain = samples()
    assert mix(jax.random.key(0), plain, Mixup(alpha=0.0), 0.0, None) is plain


def test_validation_loss_is_the_training_loss_of_unmixed_samples():
    rng = np.random.default_rng(0)
    outputs = {"machine": np.float32(rng.normal(size=5)), "product": np.float32(rng.normal(size=(5, 3)))}
    product = np.array([2, 0, -1, -1, 1])
    method = dataclasses.replace(TINY, product_weight=3.0)
    target = (product >= 0).astype(float)
    expected = np.mean([cross_entropy(a, b) for a, b in zip(outputs["machine"], target, strict=True)])
    terms = cross_entropy(outputs["product"], np.eye(4)[product][:, :3])[product >= 0]
    np.testing.assert_allclose(method.validation_loss(outputs, product), expected + 3 * terms.mean(), rtol=1e-5)

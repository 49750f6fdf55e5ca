"""The ResNet of paper 1: its size, its maps, its initialisation, and what reaches a logit."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models import norms
from asd_jax.models.resnet import ResNet


def initialise(model, frames=64, mels=32):
    return jax.jit(model.init, static_argnums=2)(jax.random.key(0), jnp.zeros((2, frames, mels)), False)


def apply(model, variables, log_mels):
    return jax.jit(lambda *args: model.apply(*args, False))(variables, log_mels)


@pytest.mark.parametrize(("blocks", "count"), [((4, 4, 4), 894_658), ((4, 1, 2), 530_626)])
def test_parameter_count(blocks, count):
    params = jax.eval_shape(lambda: initialise(ResNet(blocks), 256, 128))["params"]
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == count


def is_norm(module, _):
    return isinstance(module, norms.BatchNorm)


def test_map_sizes():
    """The first convolution and the three max-pools shrink the map as in the released code."""
    model = ResNet()

    def maps(log_mels):
        variables = model.init(jax.random.key(0), log_mels, False)
        return model.apply(variables, log_mels, False, capture_intermediates=is_norm)[1]["intermediates"]

    shapes = jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(maps, jnp.zeros((2, 256, 128))))
    assert shapes["BatchNorm_0"]["__call__"] == ((2, 127, 63, 64),)
    sizes = [shapes[f"Block_{i}"]["BatchNorm_1"]["__call__"][0] for i in range(12)]
    first_stage = [(2, 127, 63, 64), (2, 63, 31, 64), (2, 31, 15, 64), (2, 31, 15, 64)]
    assert sizes == first_stage + [(2, 15, 7, 128)] * 4 + [(2, 15, 7, 256)] * 4


def test_logit_is_that_of_the_window_alone_in_evaluation_and_of_the_batch_in_training():
    model = ResNet((2, 1, 1), width=4)
    variables = initialise(model)
    windows = jax.random.normal(jax.random.key(1), (5, 64, 32))
    logits = apply(model, variables, windows)
    assert logits.shape == (5,)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits[:2], apply(model, variables, windows[:2]), atol=1e-5)
    assert len(np.unique(logits)) == 5

    train = jax.jit(lambda windows: model.apply(variables, windows, True, mutable="batch_stats")[0])
    assert np.abs(train(windows)[:2] - train(windows[:2])).max() > 1e-3


def test_receptive_field_of_the_text_is_87():
    """A logit is the mean of outputs that each see 87 x 87: one output's gradient reaches no further."""
    model = ResNet(width=4)
    variables = initialise(model, 199, 199)

    def centre(log_mels):

        def final(module, _):
            return is_norm(module, _) and module.name == "BatchNorm_1"

        state = model.apply(variables, log_mels, False, capture_intermediates=final)[1]
        (maps,) = state["intermediates"]["BatchNorm_1"]["__call__"]
        return maps[0, maps.shape[1] // 2, maps.shape[2] // 2, 0]

    gradient = jax.jit(jax.grad(centre))
    total = sum(jnp.abs(gradient(jax.random.normal(jax.random.key(i), (1, 199, 199)))) for i in range(8))
    for axis in (1, 2):
        seen = np.flatnonzero(np.asarray(total[0].sum(axis - 1)))
        assert 70 <= seen[-1] - seen[0] + 1 <= 87


def test_fixup_starts_as_the_released_code_does():
    variables = initialise(ResNet((4, 1, 2), fixup=True))
    params = variables["params"]
    assert not params["Conv_1"]["kernel"].any()
    for index in range(7):
        block = params[f"Block_{index}"]
        first, second = block["Conv_0"]["kernel"], block["Conv_1"]["kernel"]
        size, width = first.shape[0], first.shape[-1]
        assert float(first.std()) == pytest.approx(7**-0.5 * (2 / (size**2 * width)) ** 0.5, rel=0.05)
        assert not second.any()
        if "Conv_2" in block:
            assert float(block["Conv_2"]["kernel"].std()) == pytest.approx((2 / width) ** 0.5, rel=0.05)
    logits = apply(ResNet((4, 1, 2), fixup=True), variables, jnp.ones((3, 64, 32)))
    assert (logits == 0).all()
    assert initialise(ResNet((1, 1, 1), width=4))["params"]["Conv_1"]["kernel"].all()


def test_released_network_learns_from_its_zero_start():
    model = ResNet((1, 1, 1), width=4, fixup=True)
    variables = initialise(model)
    windows = jax.random.normal(jax.random.key(1), (8, 64, 32))

    def loss(params):
        logits = model.apply({**variables, "params": params}, windows, True, mutable="batch_stats")[0]
        return jnp.mean(nn.softplus(logits) * (jnp.arange(8) % 2))

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert jnp.abs(gradients["Conv_1"]["kernel"]).max() > 0


def test_bfloat16_gives_nearly_the_same_logits_in_float32():
    variables = initialise(ResNet((1, 1, 1), width=4))
    windows = jax.random.normal(jax.random.key(1), (4, 64, 32))
    exact = apply(ResNet((1, 1, 1), width=4), variables, windows)
    rounded = apply(ResNet((1, 1, 1), width=4, dtype=jnp.bfloat16), variables, windows)
    assert rounded.dtype == jnp.float32
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max() + 0.02


def test_a_window_too_small_is_refused_and_the_smallest_is_not():
    with pytest.raises(ValueError, match="16 frames x 32 mel bands is too small .* at least 17 x 17"):
        initialise(ResNet(width=4), 16, 32)
    assert initialise(ResNet(width=4), 17, 17)

"""Paper 2's encoder: its size, its outputs against a network written out plainly, and how it trains."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax

from asd_jax.models.efficientnet import STAGES, Encoder, MBConv
from asd_jax.models.norms import BatchNorm, Dropout

TINY = {"width": 0.25, "depth": 0.25}


def trained(model, *inputs):
    """Variables as after some training, none like another; initialising would have to be compiled, which takes long."""
    flat = flatten_dict(jax.eval_shape(lambda: model.init(jax.random.key(0), *inputs, False)))
    rng = np.random.default_rng(0)
    values = {
        "kernel": lambda shape: rng.standard_normal(shape, np.float32) * (2 / math.prod(shape[:-1])) ** 0.5,
        "scale": lambda shape: rng.uniform(0.5, 1.5, shape),
        "bias": lambda shape: 0.2 * rng.standard_normal(shape),
        "mean": lambda shape: 0.2 * rng.standard_normal(shape),
        "var": lambda shape: rng.uniform(0.5, 1.5, shape),
        "batches": lambda shape: np.full(shape, 1000),
        "negative_slope": lambda shape: np.full(shape, 0.25),
    }
    return unflatten_dict({name: jnp.float32(values[name[-1]](leaf.shape)) for name, leaf in flat.items()})


@pytest.fixture(scope="module")
def variables(log_mels):
    return trained(Encoder(7, **TINY), log_mels)


@pytest.fixture(scope="module")
def log_mels():
    return jax.random.normal(jax.random.key(1), (5, 30, 40))


def evaluate(model, variables, log_mels):
    return jax.jit(lambda *args: model.apply(*args, False))(variables, log_mels)


@pytest.fixture(scope="module")
def outputs(variables, log_mels):
    return evaluate(Encoder(7, **TINY), variables, log_mels)


def test_size_and_shapes_at_full_width():
    model = Encoder(7)
    log_mels = jnp.zeros((2, 126, 224))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), log_mels, False))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])) == 4_188_607

    outputs, state = jax.eval_shape(
        lambda variables: model.apply(variables, log_mels, False, capture_intermediates=True), variables
    )
    assert {name: (x.shape, x.dtype) for name, x in outputs.items()} == {
        "embedding": ((2, 128), jnp.float32),
        "machine": ((2,), jnp.float32),
        "product": ((2, 7), jnp.float32),
    }
    backbone = state["intermediates"]["backbone"]
    maps = {name: layer["__call__"][0].shape for name, layer in backbone.items() if name != "__call__"}
    assert maps["stem"] == (2, 112, 63, 32)  # mel bands are rows
    last = [maps[f"block_{stage}_{blocks - 1}"] for stage, (_, _, blocks, _, _) in enumerate(STAGES)]
    assert last == [
        (2, 112, 63, 16),
        (2, 56, 32, 24),
        (2, 28, 16, 40),
        (2, 14, 8, 80),
        (2, 14, 8, 112),
        (2, 7, 4, 192),
        (2, 7, 4, 320),
    ]
    assert maps["head_norm"] == (2, 7, 4, 1280)


def plain_encoder(variables, log_mels):
    """The evaluation-mode network, written out."""
    params, stats = variables["params"], variables["batch_stats"]

    def norm(x, params, stats, epsilon):
        return (x - stats["mean"]) / jnp.sqrt(stats["var"] + epsilon) * params["scale"] + params["bias"]

    def dense(x, layer):
        return x @ layer["kernel"] + layer["bias"]

    def features(x, params, stats):
        def conv_norm(x, params, stats, layer, stride=1, groups=1):
            kernel = params[layer]["kernel"]
            strides, layout = (stride, stride), ("NHWC", "HWIO", "NHWC")
            y = lax.conv_general_dilated(
                x, kernel, strides, "SAME", dimension_numbers=layout, feature_group_count=groups
            )
            return norm(y, params[f"{layer}_norm"], stats[f"{layer}_norm"], 1e-3)

        def swish(x):
            return x / (1 + jnp.exp(-x))

        x = swish(conv_norm(x, params, stats, "stem", stride=2))
        for stage, stride in enumerate((1, 2, 2, 2, 1, 2, 1)):
            block, block_stats = params[f"block_{stage}_0"], stats[f"block_{stage}_0"]
            y = swish(conv_norm(x, block, block_stats, "expand")) if stage else x
            y = swish(conv_norm(y, block, block_stats, "depthwise", stride, groups=y.shape[-1]))
            gate = dense(swish(dense(y.mean((1, 2)), block["squeeze"])), block["excite"])
            y = y / (1 + jnp.exp(-gate))[:, None, None]
            y = conv_norm(y, block, block_stats, "project")
            x = x + y if stride == 1 and x.shape == y.shape else y
        return swish(conv_norm(x, params, stats, "head"))

    x = features(log_mels.transpose(0, 2, 1)[..., None], params["backbone"], stats["backbone"])
    x = dense(x.mean((1, 2)), params["Dense_0"])
    x = norm(x, params["BatchNorm_0"], stats["BatchNorm_0"], 1e-5)
    embedding = dense(jnp.where(x > 0, x, 0.25 * x), params["Dense_1"])
    machine = (embedding**2).sum(1) / 128 * params["machine"]["kernel"][0, 0] + params["machine"]["bias"]
    return {"embedding": embedding, "machine": machine, "product": embedding @ params["product"]["kernel"]}


def test_outputs_are_those_of_the_network_written_out(variables, log_mels, outputs):
    expected = jax.jit(plain_encoder)(variables, log_mels)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), outputs, expected)
    assert float(jnp.abs(outputs["embedding"]).max()) > 0.1
    assert len(np.unique(outputs["machine"])) == 5


def test_training_uses_the_batch_and_moves_every_running_statistic(variables, log_mels):
    model = Encoder(7, drop_path=0.5, **TINY)

    @jax.jit
    def step(key):
        def loss(params):
            current = {**variables, "params": params}
            rngs = {"dropout": key}
            outputs, updated = model.apply(current, log_mels, True, rngs=rngs, mutable=["batch_stats"])
            return jnp.mean(nn.softplus(outputs["machine"])) + jnp.mean(outputs["product"] ** 2), updated

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    (loss, updated), gradients = step(jax.random.key(3))
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(gradients))
    (other, _), _ = step(jax.random.key(4))
    assert other != loss
    for name, new in flatten_dict(updated["batch_stats"]).items():
        old = flatten_dict(variables["batch_stats"])[name]
        assert np.all(new != old), name
    # EfficientNet's momentum is 0.99, the one of the layers after it 0.9
    images = log_mels.transpose(0, 2, 1)[..., None]
    kernel = variables["params"]["backbone"]["stem"]["kernel"]
    stem = lax.conv_general_dilated(images, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    old, new = (x["batch_stats"]["backbone"]["stem_norm"]["mean"] for x in (variables, updated))
    np.testing.assert_allclose(new, 0.99 * old + 0.01 * stem.mean((0, 1, 2)), atol=1e-5)


def test_drop_path_skips_whole_blocks_in_training_and_none_in_evaluation(variables, log_mels, outputs):
    dropping = evaluate(Encoder(7, drop_path=0.9, **TINY), variables, log_mels)
    jax.tree.map(np.testing.assert_array_equal, dropping, outputs)

    def block(drop_path):
        return MBConv(2, 3, 1, 3, drop_path, jnp.float32, None)

    x = jax.random.normal(jax.random.key(0), (64, 4, 4, 3))
    block_variables = trained(block(0.0), x)

    @functools.partial(jax.jit, static_argnums=0)
    def apply(drop_path):
        rngs = {"dropout": jax.random.key(2)}
        return block(drop_path).apply(block_variables, x, True, rngs=rngs, mutable=["batch_stats"])[0]

    branch, dropped = apply(0.0) - x, apply(0.25) - x
    kept = jnp.abs(dropped).max((1, 2, 3)) > 0
    np.testing.assert_allclose(dropped, kept[:, None, None, None] * branch / 0.75, atol=1e-5)
    assert 32 < kept.sum() < 62


def test_every_layer_that_looks_at_the_batch_knows_the_mesh_axis():
    axes = []

    def note(call, args, kwargs, context):
        if isinstance(context.module, BatchNorm | Dropout):
            axes.append(context.module.axis_name)
        return call(*args, **kwargs)

    model = Encoder(7, drop_path=0.5, axis_name="data")
    with nn.intercept_methods(note):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 30, 40)), False))
    norms, skipped = 1 + (3 * 16 - 1) + 1 + 1, 9
    assert axes == ["data"] * (norms + skipped + 1)


def test_layers_start_as_those_of_the_published_networks():
    @jax.jit
    def some_of_the_start():
        params = Encoder(7).init(jax.random.key(0), jnp.zeros((1, 30, 40)), False)["params"]
        backbone = params.pop("backbone")
        return params, backbone["head"], backbone["block_5_1"]

    params, head, block = some_of_the_start()
    for layer, fan_out in ((block["project"], 192), (block["excite"], 1152), (head, 1280), (block["depthwise"], 25)):
        assert float(layer["kernel"].std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)
    for name, fan_in in (("Dense_0", 1280), ("Dense_1", 128), ("product", 128)):
        kernel = params[name]["kernel"]
        assert 0.97 < float(jnp.abs(kernel).max()) * fan_in**0.5 <= 1
        assert float(kernel.std()) == pytest.approx((3 * fan_in) ** -0.5, rel=0.08)
    assert params["Dense_0"]["bias"].any()
    assert float(params["PReLU_0"]["negative_slope"]) == 0.25


def test_bfloat16_gives_nearly_the_same_and_outputs_in_float32():
    def block(dtype):
        return MBConv(6, 8, 1, 5, 0.0, dtype, None)

    x = jax.random.normal(jax.random.key(0), (2, 6, 5, 8))
    block_variables = trained(block(jnp.float32), x)
    exact, rounded = (evaluate(block(dtype), block_variables, x.astype(dtype)) for dtype in (jnp.float32, jnp.bfloat16))
    assert rounded.dtype == jnp.bfloat16
    assert 0 < np.abs(exact - rounded).max() < 0.03 * np.abs(exact).max()

    model = Encoder(7, dtype=jnp.bfloat16)
    log_mels = jnp.zeros((1, 30, 40))
    start = jax.eval_shape(lambda: model.init(jax.random.key(0), log_mels, False))
    outputs, state = jax.eval_shape(lambda v: model.apply(v, log_mels, False, capture_intermediates=True), start)
    assert {leaf.dtype for leaf in jax.tree.leaves((start, outputs))} == {jnp.dtype(jnp.float32)}
    layers = flatten_dict(state["intermediates"]["backbone"])
    computed = {name[-2] if len(name) > 1 else "backbone": leaf.dtype for name, (leaf,) in layers.items()}
    assert set(computed.values()) == {jnp.dtype(jnp.bfloat16)}, computed


def test_rematerialisation_keeps_less_and_gives_the_same_gradients(variables, log_mels):
    def loss(params, model):
        outputs, _ = model.apply(
            variables | {"params": params}, log_mels, True, mutable="batch_stats", rngs={"dropout": jax.random.key(0)}
        )
        return jnp.mean(outputs["product"] ** 2)

    def kept_bytes(model):
        """Between the forward pass and the gradients, beside the parameters."""
        gradients = jax.eval_shape(lambda params: jax.vjp(lambda p: loss(p, model), params)[1], variables["params"])
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(gradients))

    plain, again = Encoder(7, **TINY), Encoder(7, **TINY, remat=True)
    parameters = 4 * sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert kept_bytes(again) - parameters < 0.5 * (kept_bytes(plain) - parameters)
    one, other = (jax.jit(jax.grad(loss), static_argnums=1)(variables["params"], model) for model in (plain, again))
    largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(one))
    compared = 0
    for (path, a), b in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True):
        # What a BatchNorm takes out again has a gradient of 0: rounding makes it up to 1e-6 of the largest.
        own = float(jnp.abs(a).max())
        compared += own > 1e-4 * largest
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-3 * own + 1e-5 * largest, err_msg=jax.tree_util.keystr(path))
    assert compared > 0.7 * len(jax.tree.leaves(one))

"""The CPU formulations against the compiler's own, and BatchNorm against Flax's, on one device and on several."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from asd_jax.models import layers, norms
from tests.fake_devices import DEVICES


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def assert_close(actual, expected, tolerance=2e-5):
    """Equal to float rounding, relative to the largest value."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * (1 + np.abs(b).max())), actual, expected
    )


CONVOLUTIONS = {
    # (batch, height, width, in, out, size, stride, padding)
    "3x3": (3, 9, 8, 6, 5, 3, 1, 1),
    "3x3, a full chunk": (16, 5, 7, 4, 3, 3, 1, 1),
    "5x5 stride 2, even": (2, 16, 10, 1, 4, 5, 2, 1),
    "5x5 stride 2, odd": (32, 15, 11, 1, 4, 5, 2, 1),
    "5x5 stride 2, many channels": (2, 12, 11, 3, 4, 5, 2, 1),
    "1x1 stride 2": (2, 7, 6, 3, 4, 1, 2, 0),
}


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_cpu_convolution_equals_the_native_one(case):
    batch, height, width, channels, features, size, stride, padding = case
    x, kernel = normal(0, batch, height, width, channels), normal(1, size, size, channels, features)

    def run(function, *args):
        return jax.jit(function, static_argnames=("stride", "padding"))(*args, stride=stride, padding=padding)

    y = run(layers.native_conv, x, kernel)
    dy = normal(2, *y.shape)
    gradients = run(layers.native_conv_gradients, x, kernel, dy)
    assert_close(run(layers.cpu_conv, x, kernel), y)
    assert_close(run(layers.cpu_conv_gradients, x, kernel, dy), gradients)

    @jax.jit
    def chosen(x, kernel, dy):
        y, vjp = jax.vjp(lambda x, kernel: layers.conv(x, kernel, stride, padding), x, kernel)
        return y, vjp(dy)

    assert_close(chosen(x, kernel, dy), (y, gradients))


def test_pointwise_convolution_is_a_convolution():
    module = layers.Conv(5, 1)
    x = normal(0, 2, 4, 3, 6)
    variables = module.init(jax.random.key(1), x)
    kernel = variables["params"]["kernel"]
    assert kernel.shape == (1, 1, 6, 5)
    assert_close(module.apply(variables, x), layers.native_conv(x, kernel, 1, 0))


def test_kaiming_initialisation_has_the_deviation_of_its_fan_in():
    kernel = layers.Conv(64, 3).init(jax.random.key(0), jnp.zeros((1, 4, 4, 32)))["params"]["kernel"]
    assert float(kernel.std()) == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.03)
    assert float(jnp.abs(kernel).max()) > 3 * float(kernel.std())  # not truncated


@pytest.mark.parametrize("shape", [(2, 6, 8, 3), (2, 7, 9, 3), (1, 2, 3, 2), (3, 5, 4, 1)])
def test_cpu_max_pool_equals_the_native_one(shape):
    x = jnp.round(2 * jax.nn.relu(normal(0, *shape)))  # few values: ties in most windows
    y = layers.native_max_pool(x)
    dy = normal(1, *y.shape)
    dx = layers.native_max_pool_gradient(x, y, dy)

    assert (layers.cpu_max_pool(x) == y).all()
    assert (layers.cpu_max_pool_gradient(x, y, dy) == dx).all()

    actual, vjp = jax.vjp(layers.max_pool, x)
    assert (actual == y).all()
    assert (vjp(dy)[0] == dx).all()


def flax_batch_norm(x, scale, bias):
    module = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5)
    stats = {"mean": jnp.zeros(x.shape[-1]), "var": jnp.ones(x.shape[-1])}
    variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": stats}
    y, updated = module.apply(variables, x, mutable="batch_stats")
    return y, updated["batch_stats"]


@pytest.fixture
def batch():
    return 3 + 2 * normal(0, 8, 4, 3, 5), 1 + normal(1, 5), normal(2, 5), normal(3, 8, 4, 3, 5)


def test_batch_norm_equals_flax_but_for_the_unbiased_running_variance(batch):
    x, scale, bias, dy = batch
    expected, vjp = jax.vjp(lambda *a: flax_batch_norm(*a)[0], x, scale, bias)
    actual, our_vjp = jax.vjp(lambda *a: norms.batch_norm(*a, 1e-5, None)[0], x, scale, bias)
    assert_close(actual, expected)
    assert_close(our_vjp(dy), vjp(dy))

    module = norms.BatchNorm()
    stats = module.init(jax.random.key(0), x, True)["batch_stats"] | {"batches": jnp.float32(9)}
    variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": stats}
    _, updated = module.apply(variables, x, True, mutable="batch_stats")
    stats, count = updated["batch_stats"], 8 * 4 * 3
    flax_stats = flax_batch_norm(x, scale, bias)[1]
    assert_close(stats["mean"], flax_stats["mean"])
    assert_close(stats["var"], 0.9 + (flax_stats["var"] - 0.9) * count / (count - 1))

    evaluated = module.apply({**variables, **updated}, x, False)
    assert_close(evaluated, (x - stats["mean"]) / jnp.sqrt(stats["var"] + 1e-5) * scale + bias)


def test_running_statistics_are_the_mean_over_the_first_batches_and_then_follow_slowly():
    module = norms.BatchNorm(momentum=0.75)
    batches = [i + normal(i, 50, 3) for i in range(7)]
    variables = module.init(jax.random.key(0), batches[0], True)
    means = [x.mean(0) for x in batches]
    for done, x in enumerate(batches, 1):
        variables = {**variables, **module.apply(variables, x, True, mutable="batch_stats")[1]}
        if done <= 4:
            assert_close(variables["batch_stats"]["mean"], np.mean(means[:done], axis=0))
            assert_close(variables["batch_stats"]["var"], np.mean([x.var(0, ddof=1) for x in batches[:done]], axis=0))
    expected = np.mean(means[:4], axis=0)
    for mean in means[4:]:
        expected = 0.75 * expected + 0.25 * mean
    assert_close(variables["batch_stats"]["mean"], expected)


def test_initialisation_leaves_the_running_statistics_at_rest():
    variables = norms.BatchNorm(axis_name="data").init(jax.random.key(0), normal(0, 4, 5), True)
    assert (variables["batch_stats"]["mean"] == 0).all()
    assert (variables["batch_stats"]["var"] == 1).all()


def test_bfloat16_keeps_parameters_and_statistics_in_float32():
    module = norms.BatchNorm()
    x = (100 + normal(0, 512, 4)).astype(jnp.bfloat16)
    variables = module.init(jax.random.key(0), x, True)
    y, updated = module.apply(variables, x, True, mutable="batch_stats")
    assert y.dtype == jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves((variables, updated))} == {jnp.dtype(jnp.float32)}
    assert_close(updated["batch_stats"]["mean"], x.astype(jnp.float32).mean(0), 1e-6)

    conv = layers.Conv(4, 3, padding=1, dtype=jnp.bfloat16)
    image = normal(1, 2, 5, 5, 3)
    params = conv.init(jax.random.key(0), image)
    grads = jax.grad(lambda p: conv.apply(p, image).astype(jnp.float32).sum())(params)
    assert conv.apply(params, image).dtype == jnp.bfloat16
    assert grads["params"]["kernel"].dtype == params["params"]["kernel"].dtype == jnp.float32


@pytest.mark.skipif(len(DEVICES) < 2, reason="one device")
@pytest.mark.parametrize("check_vma", [True, False])
def test_batch_norm_of_a_split_batch_is_that_of_the_whole(batch, check_vma):
    x, scale, bias, dy = batch
    devices = 2
    mesh = jax.make_mesh((devices,), ("data",), (jax.sharding.AxisType.Auto,), devices=DEVICES[:devices])
    variables = norms.BatchNorm().init(jax.random.key(0), x, True)

    def loss(params, x, dy, axis_name):
        y, updated = norms.BatchNorm(axis_name).apply({**variables, "params": params}, x, True, mutable="batch_stats")
        return jnp.mean(jnp.sin(y) * dy), updated["batch_stats"]

    def split(params, x, dy):
        if check_vma:
            params = jax.lax.pcast(params, "data", to="varying")
        (_, stats), (dparams, dx) = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x, dy, "data")
        return stats, jax.lax.pmean(dparams, "data"), dx / devices

    params = {"scale": scale, "bias": bias}
    specs = (P(), P("data"), P("data"))
    sharded = jax.shard_map(split, mesh=mesh, in_specs=specs, out_specs=(P(), P(), P("data")), check_vma=check_vma)
    stats, dparams, dx = jax.jit(sharded)(params, x, dy)

    (_, expected_stats), (expected_dparams, expected_dx) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
        params, x, dy, None
    )
    assert_close(stats, expected_stats)
    assert_close(dparams, expected_dparams)
    assert_close(dx, expected_dx, 2e-7)


def lowered(function, platform, *arguments):
    return jax.export.export(jax.jit(function), platforms=[platform])(*arguments).mlir_module()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_get_the_compilers_own_operations_and_the_cpu_the_equal_ones(platform):
    x, one_by_one = jnp.ones((2, 8, 8, 4)), jnp.ones((1, 1, 4, 6))
    first, first_x = jnp.ones((5, 5, 1, 4)), jnp.ones((2, 8, 8, 1))
    for image, kernel, stride, padding in ((x, one_by_one, 1, 0), (first_x, first, 2, 1)):

        def conv(image, kernel, stride=stride, padding=padding):
            return layers.conv(image, kernel, stride, padding)

        assert "stablehlo.convolution" in lowered(conv, platform, image, kernel)
        assert "stablehlo.convolution" not in lowered(conv, "cpu", image, kernel)

    def pooled(x):
        return jax.grad(lambda x: layers.max_pool(x).sum())(x)

    assert "select_and_scatter" in lowered(pooled, platform, x)
    assert "select_and_scatter" not in lowered(pooled, "cpu", x)


@pytest.mark.parametrize("whole_rows", [False, True])
def test_dropout_drops_its_share_scales_the_rest_and_rests_in_evaluation(whole_rows):
    x = 1 + jnp.abs(normal(0, 400, 6, 5))
    module = norms.Dropout(0.25, whole_rows=whole_rows)
    assert (module.apply({}, x, False) == x).all()
    ratio = np.asarray(module.apply({}, x, True, rngs={"dropout": jax.random.key(3)}) / x)
    kept = ratio > 0
    np.testing.assert_allclose(ratio[kept], 1 / 0.75, rtol=1e-5)
    assert abs(kept.mean() - 0.75) < 0.05
    of_row = kept.reshape(400, -1).mean(1)
    assert (np.isin(of_row, (0, 1)).all()) == whole_rows

"""Depthwise convolution: the CPU's formulation against the compiler's own, and against the plain sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models import depthwise


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def assert_close(actual, expected, tolerance=2e-5):
    """Equal to float rounding, relative to the largest value."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * (1 + np.abs(b).max())), actual, expected
    )


def plain_depthwise_conv(x, kernel, stride):
    """Each output from the definition of TensorFlow's SAME: ceil(n / stride) outputs, the odd zero after."""
    size, (batch, height, width, channels) = len(kernel), x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    before = [max((out - 1) * stride + size - n, 0) // 2 for out, n in ((rows, height), (columns, width))]
    y = np.zeros((batch, rows, columns, channels))
    for row, column, i, j in np.ndindex(rows, columns, size, size):
        r, c = row * stride + i - before[0], column * stride + j - before[1]
        if 0 <= r < height and 0 <= c < width:
            y[:, row, column] += x[:, r, c] * kernel[i, j, 0]
    return y


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(8, 6), (7, 9), (5, 4), (1, 2)])
def test_cpu_formulation_equals_the_native_one_and_the_definition(size, stride, height, width):
    x, kernel = normal(0, 2, height, width, 3), normal(1, size, size, 1, 3)
    y = plain_depthwise_conv(np.asarray(x), np.asarray(kernel), stride)
    dy = normal(2, *y.shape)

    @jax.jit
    def run(x, kernel, dy):
        chosen, vjp = jax.vjp(lambda x, kernel: depthwise.depthwise_conv(x, kernel, stride), x, kernel)
        return {
            "values": [
                depthwise.native_depthwise_conv(x, kernel, stride),
                depthwise.cpu_depthwise_conv(x, kernel, stride),
                chosen,
            ],
            "gradients": [
                depthwise.native_depthwise_conv_gradients(x, kernel, dy, stride),
                depthwise.cpu_depthwise_conv_gradients(x, kernel, dy, stride),
                vjp(dy),
            ],
        }

    result = run(x, kernel, dy)
    for value in result["values"]:
        assert_close(value, y)
    native, *others = result["gradients"]
    for gradients in others:
        assert_close(gradients, native)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("stride", [1, 2])
def test_accelerators_get_the_compilers_own_operation_and_the_cpu_the_equal_one(platform, stride):
    def gradients(x, kernel):
        return jax.value_and_grad(lambda *args: depthwise.depthwise_conv(*args, stride).sum(), (0, 1))(x, kernel)

    def lowered(platform):
        arguments = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 1, 4))
        return jax.export.export(jax.jit(gradients), platforms=[platform])(*arguments).mlir_module()

    assert lowered(platform).count("stablehlo.convolution") >= 2
    assert "stablehlo.convolution" not in lowered("cpu")


def test_layer_starts_with_the_deviation_of_one_channels_taps():
    module = depthwise.DepthwiseConv(5, 2)
    x = jnp.zeros((1, 7, 6, 512))
    variables = jax.jit(module.init)(jax.random.key(0), x)
    assert variables["params"]["kernel"].shape == (5, 5, 1, 512)
    assert float(variables["params"]["kernel"].std()) == pytest.approx((2 / 25) ** 0.5, rel=0.03)
    assert module.apply(variables, x).shape == (1, 4, 3, 512)


def test_bfloat16_keeps_the_parameters_in_float32():
    module = depthwise.DepthwiseConv(3, dtype=jnp.bfloat16)
    x = normal(0, 2, 5, 5, 3)
    params = jax.jit(module.init)(jax.random.key(0), x)
    grads = jax.jit(jax.grad(lambda params: module.apply(params, x).astype(jnp.float32).sum()))(params)
    assert module.apply(params, x).dtype == jnp.bfloat16
    assert grads["params"]["kernel"].dtype == params["params"]["kernel"].dtype == jnp.float32

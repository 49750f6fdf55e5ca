"""Convolution, max-pool and BatchNorm, NHWC.

On GPU and TPU a layer is what the compiler makes of it. On the CPU some of XLA's gradients run on one thread and take
many times longer than the arithmetic needs; there an equal formulation stands in, chosen when a program is lowered.
"""

import functools
from typing import TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Tree = TypeVar("Tree")

DATA = "data"
"""The mesh axis that a batch is split over."""

_CHUNK = 2
"""Images whose patches are laid out at a time: as many as stay in the cache until their product is taken."""


def native_conv(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """Convolution as the compiler does it: x [batch, height, width, in], kernel [k, k, in, out]."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def cpu_conv(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """The same for the CPU: a 1x1 kernel is a matrix product; one input channel is patches times kernel."""
    if _is_pointwise(kernel, stride, padding):
        return x @ kernel[0, 0]
    if kernel.shape[2] == 1:
        return _patches(x, kernel.shape[0], stride, padding) @ kernel.reshape(-1, kernel.shape[-1])
    return native_conv(x, kernel, stride, padding)


def native_conv_gradients(x: Array, kernel: Array, dy: Array, stride: int, padding: int) -> tuple[Array, Array]:
    """Gradients by x and by kernel, as the compiler does them."""
    return jax.vjp(lambda x, kernel: native_conv(x, kernel, stride, padding), x, kernel)[1](dy)


def cpu_conv_gradients(x: Array, kernel: Array, dy: Array, stride: int, padding: int) -> tuple[Array, Array]:
    """The same for the CPU: the kernel's gradient is one product of x and dy, laid out a few images at a time."""
    if _is_pointwise(kernel, stride, padding):
        # Left to autodiff, dy would be transposed in memory first, which takes far longer than the product.
        return dy @ kernel[0, 0].T, (_rows(x).T @ _rows(dy)).reshape(kernel.shape)
    dx, _ = native_conv_gradients(x, kernel, dy, stride, padding)
    size, batch = kernel.shape[0], x.shape[0]
    by_chunk = _kernel_gradient if stride == 1 else functools.partial(_strided_kernel_gradient, stride=stride)
    by_chunk = functools.partial(by_chunk, size=size, padding=padding)
    if batch % _CHUNK:
        return dx, by_chunk(x, dy)
    x, dy = (a.reshape(batch // _CHUNK, _CHUNK, *a.shape[1:]) for a in (x, dy))
    dkernel = jnp.zeros(kernel.shape, kernel.dtype)
    return dx, lax.fori_loop(0, len(x), lambda i, total: total + by_chunk(x[i], dy[i]), dkernel)


def _is_pointwise(kernel: Array, stride: int, padding: int) -> bool:
    return kernel.shape[0] == stride == 1 and not padding


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _kernel_gradient(x: Array, dy: Array, size: int, padding: int) -> Array:
    """Stride 1: x shifted along the width, dy along the height; one product of the two then holds every tap once."""
    height, width = dy.shape[1] + size - 1, dy.shape[2]
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dy = jnp.pad(dy, ((0, 0), (size - 1, size - 1), (0, 0), (0, 0)))
    x = jnp.concatenate([x[:, :, j : j + width] for j in range(size)], axis=-1)
    dy = jnp.concatenate([dy[:, size - 1 - i :][:, :height] for i in range(size)], axis=-1)
    product = _rows(x).T @ _rows(dy)
    return product.reshape(size, -1, size, dy.shape[-1] // size).transpose(2, 0, 1, 3)


def _strided_kernel_gradient(x: Array, dy: Array, size: int, padding: int, stride: int) -> Array:
    product = _rows(_patches(x, size, stride, padding)).T @ _rows(dy)
    return product.reshape(size, size, x.shape[-1], dy.shape[-1])


def _patches(x: Array, size: int, stride: int, padding: int) -> Array:
    """[batch, height, width, in] -> [batch, out height, out width, size * size * in], ordered as a kernel is."""
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = ((n - size) // stride * stride + 1 for n in x.shape[1:3])
    return jnp.concatenate(
        [x[:, i : i + height : stride, j : j + width : stride] for i in range(size) for j in range(size)], axis=-1
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x: Array, kernel: Array, stride: int = 1, padding: int = 0) -> Array:
    """Convolution with zero padding: x [batch, height, width, in], kernel [k, k, in, out] -> [batch, ., ., out]."""
    options = {"stride": stride, "padding": padding}
    return lax.platform_dependent(
        x, kernel, cpu=functools.partial(cpu_conv, **options), default=functools.partial(native_conv, **options)
    )


def _conv_backward(stride: int, padding: int, residuals: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    options = {"stride": stride, "padding": padding}
    return lax.platform_dependent(
        *residuals,
        dy,
        cpu=functools.partial(cpu_conv_gradients, **options),
        default=functools.partial(native_conv_gradients, **options),
    )


conv.defvjp(lambda x, kernel, stride, padding: (conv(x, kernel, stride, padding), (x, kernel)), _conv_backward)


class Conv(nn.Module):
    """Convolution without bias.

    Attributes:
        features: channels of the output.
        size: side of the square kernel.
        stride, padding: the same in height and width; padding with zeros.
        kernel_init: initialiser of the kernel [size, size, in, features].
        dtype: type computed in; the kernel is kept in float32.
    """

    features: int
    size: int
    stride: int = 1
    padding: int = 0
    kernel_init: nn.initializers.Initializer = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(self.dtype)
        return conv(x.astype(self.dtype), kernel, self.stride, self.padding)


def native_max_pool(x: Array) -> Array:
    """2x2 max-pool as the compiler does it."""
    return nn.max_pool(x, (2, 2), (2, 2))


def native_max_pool_gradient(x: Array, y: Array, dy: Array) -> Array:
    """Its gradient, as the compiler does it."""
    del y
    return jax.vjp(native_max_pool, x)[1](dy)[0]


def cpu_max_pool(x: Array) -> Array:
    """The same for the CPU."""
    return functools.reduce(jnp.maximum, _window_corners(x))


def cpu_max_pool_gradient(x: Array, y: Array, dy: Array) -> Array:
    """The same for the CPU: dy goes to the first largest of its window, row by row, as in the compiler's own."""
    taken = jnp.zeros(y.shape, bool)
    parts = []
    for corner in _window_corners(x):
        first = (corner == y) & ~taken
        taken |= first
        parts.append(jnp.where(first, dy, 0))
    batch, height, width, channels = y.shape
    rows = [jnp.stack(parts[:2], axis=3), jnp.stack(parts[2:], axis=3)]
    dx = jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, channels)
    return jnp.pad(dx, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))


def _window_corners(x: Array) -> list[Array]:
    height, width = (n // 2 * 2 for n in x.shape[1:3])
    return [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]


@jax.custom_vjp
def max_pool(x: Array) -> Array:
    """2x2 max-pool with stride 2; an odd last row or column is left out: [b, h, w, c] -> [b, h // 2, w // 2, c]."""
    return lax.platform_dependent(x, cpu=cpu_max_pool, default=native_max_pool)


def _max_pool_forward(x: Array) -> tuple[Array, tuple[Array, Array]]:
    y = max_pool(x)
    return y, (x, y)


def _max_pool_backward(residuals: tuple[Array, Array], dy: Array) -> tuple[Array]:
    return (lax.platform_dependent(*residuals, dy, cpu=cpu_max_pool_gradient, default=native_max_pool_gradient),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def mean_over_devices(values: Tree, axis_name: str | None) -> Tree:
    """Means of arrays over the devices along a mesh axis; for one device alone, no copy as the compiler would make."""
    return lax.pmean(values, axis_name) if axis_name and lax.axis_size(axis_name) > 1 else values


def batch_mean(x: Array, axis_name: str | None) -> Array:
    """Mean of every channel in float32, over the devices of `axis_name` too."""
    return mean_over_devices(jnp.mean(x, axis=tuple(range(x.ndim - 1)), dtype=jnp.float32), axis_name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def batch_norm(
    x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None
) -> tuple[Array, Array, Array]:
    """Normalises each channel by the statistics of the batch -> (y like x, mean [channels], variance [channels]).

    The batch is that of all devices along the mesh axis `axis_name`. Mean and variance are float32, the variance is the
    biased one, and no gradient flows through either. The gradient is the analytic one, in two reductions.
    """
    return _batch_norm_forward(x, scale, bias, epsilon, axis_name)[0]


def _batch_norm_forward(
    x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    mean = batch_mean(x, axis_name)
    variance = jnp.maximum(batch_mean(jnp.square(x.astype(jnp.float32)), axis_name) - mean**2, 0)
    inverse = lax.rsqrt(variance + epsilon)
    y = x * (inverse * scale) + (bias - mean * inverse * scale)
    return (y.astype(x.dtype), mean, variance), (x, scale, mean, inverse)


def _batch_norm_backward(
    epsilon: float, axis_name: str | None, residuals: tuple[Array, ...], cotangents: tuple[Array, ...]
) -> tuple[Array, Array, Array]:
    x, scale, mean, inverse = residuals
    dy = cotangents[0].astype(jnp.float32)
    mean_dy = jnp.mean(dy, axis=tuple(range(x.ndim - 1)))
    mean_dy_normed = (jnp.mean(dy * x, axis=tuple(range(x.ndim - 1))) - mean * mean_dy) * inverse
    count = x.size // x.shape[-1]
    # scale and bias get this device's share, as every parameter does; x needs the means over the whole batch.
    dscale, dbias = count * mean_dy_normed, count * mean_dy
    mean_dy, mean_dy_normed = mean_over_devices((mean_dy, mean_dy_normed), axis_name)
    # scale * inverse * (dy - mean(dy) - normed * mean(dy * normed)), as one multiply-add of dy and x
    by_dy = scale * inverse
    by_x = -by_dy * inverse * mean_dy_normed
    dx = dy * by_dy + x * by_x - (by_dy * mean_dy + by_x * mean)
    return dx.astype(x.dtype), dscale, dbias


batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)


class BatchNorm(nn.Module):
    """BatchNorm over the last axis, with PyTorch's conventions: the running variance is that of unbiased ones.

    The running statistics are means over the batches so far, until a batch weighs less there than `1 - momentum`; from
    then on they follow at that rate. Started from 0 and 1, as elsewhere, they would be far off for the first few
    hundred batches, and a deep network of such layers gives nearly the same for every input.

    Attributes:
        axis_name: mesh axis that the batch is split over; None for a batch on one device.
    """

    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        variance = self.variable("batch_stats", "var", jnp.ones, channels)
        batches = self.variable("batch_stats", "batches", jnp.zeros, ())
        if not train:
            factor = scale * lax.rsqrt(variance.value + self.epsilon)
            return (x * factor + (bias - mean.value * factor)).astype(x.dtype)
        axis_name = None if self.is_initializing() else self.axis_name  # init runs outside the mesh
        y, current_mean, current_variance = batch_norm(x, scale, bias, self.epsilon, axis_name)
        if not self.is_initializing():
            count = x.size // x.shape[-1] * (lax.axis_size(axis_name) if axis_name else 1)
            unbiased = current_variance * (count / max(count - 1, 1))
            follow(batches, self.momentum, (mean, current_mean), (variance, unbiased))
        return y


def follow(batches: nn.Variable, momentum: float, *running: tuple[nn.Variable, Array]) -> None:
    """Running statistics, as `BatchNorm` keeps them, after one more batch: (statistic, its value in the batch)."""
    momentum = jnp.minimum(momentum, batches.value / (batches.value + 1))
    for variable, value in running:
        variable.value = momentum * variable.value + (1 - momentum) * value
    batches.value += 1


class Dropout(nn.Module):
    """Sets a random share of the values to zero in training, and scales the others up.

    What is drawn belongs to a row's place in the whole batch, however many devices that is split over.

    Attributes:
        rate: the share.
        whole_rows: whether a row is kept or dropped as a whole (drop-path).
        axis_name: mesh axis that the batch is split over.
    """

    rate: float
    whole_rows: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        if not train or not self.rate:
            return x
        rows, devices, place = len(x), 1, 0
        if self.axis_name and not self.is_initializing():
            devices, place = lax.axis_size(self.axis_name), lax.axis_index(self.axis_name)
        shape = (devices * rows, *([1] * (x.ndim - 1) if self.whole_rows else x.shape[1:]))
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape)
        kept = lax.dynamic_slice_in_dim(kept, place * rows, rows)
        return jnp.where(kept, x / (1 - self.rate), 0).astype(x.dtype)

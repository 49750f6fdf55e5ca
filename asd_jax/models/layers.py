"""Convolution and max-pool, NHWC.

On GPU and TPU a layer is what the compiler makes of it. On the CPU some of XLA's gradients run on one thread and take
many times longer than the arithmetic needs; there an equal formulation stands in, chosen when a program is lowered.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

_CHUNK = 2
"""Images whose patches are laid out at a time: as many as stay in the cache until their product is taken."""


def native_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """Convolution as the compiler does it: x [batch, height, width, in], kernel [k, k, in, out]."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def cpu_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """The same for the CPU: a 1x1 kernel is a matrix product; one input channel is patches times kernel."""
    if _is_pointwise(kernel, stride, padding):
        return x @ kernel[0, 0]
    if kernel.shape[2] == 1:
        return _patches(x, kernel.shape[0], stride, padding) @ kernel.reshape(-1, kernel.shape[-1])
    return native_conv(x, kernel, stride, padding)


def native_conv_gradients(
    x: jax.Array, kernel: jax.Array, dy: jax.Array, stride: int, padding: int
) -> tuple[jax.Array, jax.Array]:
    """Gradients by x and by kernel, as the compiler does them."""
    return jax.vjp(lambda x, kernel: native_conv(x, kernel, stride, padding), x, kernel)[1](dy)


def cpu_conv_gradients(
    x: jax.Array, kernel: jax.Array, dy: jax.Array, stride: int, padding: int
) -> tuple[jax.Array, jax.Array]:
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


def _is_pointwise(kernel: jax.Array, stride: int, padding: int) -> bool:
    return kernel.shape[0] == stride == 1 and not padding


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])


def _kernel_gradient(x: jax.Array, dy: jax.Array, size: int, padding: int) -> jax.Array:
    """Stride 1: x shifted along the width, dy along the height; one product of the two then holds every tap once."""
    height, width = dy.shape[1] + size - 1, dy.shape[2]
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dy = jnp.pad(dy, ((0, 0), (size - 1, size - 1), (0, 0), (0, 0)))
    x = jnp.concatenate([x[:, :, j : j + width] for j in range(size)], axis=-1)
    dy = jnp.concatenate([dy[:, size - 1 - i :][:, :height] for i in range(size)], axis=-1)
    product = _rows(x).T @ _rows(dy)
    return product.reshape(size, -1, size, dy.shape[-1] // size).transpose(2, 0, 1, 3)


def _strided_kernel_gradient(x: jax.Array, dy: jax.Array, size: int, padding: int, stride: int) -> jax.Array:
    product = _rows(_patches(x, size, stride, padding)).T @ _rows(dy)
    return product.reshape(size, size, x.shape[-1], dy.shape[-1])


def _patches(x: jax.Array, size: int, stride: int, padding: int) -> jax.Array:
    """[batch, height, width, in] -> [batch, out height, out width, size * size * in], ordered as a kernel is."""
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = ((n - size) // stride * stride + 1 for n in x.shape[1:3])
    return jnp.concatenate(
        [x[:, i : i + height : stride, j : j + width : stride] for i in range(size) for j in range(size)], axis=-1
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x: jax.Array, kernel: jax.Array, stride: int = 1, padding: int = 0) -> jax.Array:
    """Convolution with zero padding: x [batch, height, width, in], kernel [k, k, in, out] -> [batch, ., ., out]."""
    options = {"stride": stride, "padding": padding}
    return lax.platform_dependent(
        x, kernel, cpu=functools.partial(cpu_conv, **options), default=functools.partial(native_conv, **options)
    )


def _conv_backward(
    stride: int, padding: int, residuals: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
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
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(self.dtype)
        return conv(x.astype(self.dtype), kernel, self.stride, self.padding)


def native_max_pool(x: jax.Array) -> jax.Array:
    """2x2 max-pool as the compiler does it."""
    return nn.max_pool(x, (2, 2), (2, 2))


def native_max_pool_gradient(x: jax.Array, y: jax.Array, dy: jax.Array) -> jax.Array:
    """Its gradient, as the compiler does it."""
    del y
    return jax.vjp(native_max_pool, x)[1](dy)[0]


def cpu_max_pool(x: jax.Array) -> jax.Array:
    """The same for the CPU."""
    return functools.reduce(jnp.maximum, _window_corners(x))


def cpu_max_pool_gradient(x: jax.Array, y: jax.Array, dy: jax.Array) -> jax.Array:
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


def _window_corners(x: jax.Array) -> list[jax.Array]:
    height, width = (n // 2 * 2 for n in x.shape[1:3])
    return [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """2x2 max-pool with stride 2; an odd last row or column is left out: [b, h, w, c] -> [b, h // 2, w // 2, c]."""
    return lax.platform_dependent(x, cpu=cpu_max_pool, default=native_max_pool)


def _max_pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = max_pool(x)
    return y, (x, y)


def _max_pool_backward(residuals: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array]:
    return (lax.platform_dependent(*residuals, dy, cpu=cpu_max_pool_gradient, default=native_max_pool_gradient),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)

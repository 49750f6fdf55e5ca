"""Depthwise convolution, NHWC: every channel has a kernel of its own. Zero padding is TensorFlow's "SAME".

On GPU and TPU it is what the compiler makes of it. On the CPU, XLA takes up to a hundred times longer than an equal sum
of shifted images, which stands in there, chosen when a program is lowered.
"""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


def native_depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Depthwise convolution as the compiler does it: x [batch, height, width, channels], kernel [k, k, 1, channels]."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def cpu_depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The same for the CPU: every tap of the kernel times the image shifted to it."""
    size = kernel.shape[0]
    taps = kernel.reshape(size * size, -1)
    return sum(tap * shifted for tap, shifted in zip(taps, _shifted(_pad(x, size, stride), size, stride), strict=True))


def native_depthwise_conv_gradients(
    x: jax.Array, kernel: jax.Array, dy: jax.Array, stride: int
) -> tuple[jax.Array, jax.Array]:
    """Gradients by x and by kernel, as the compiler does them."""
    return jax.vjp(lambda x, kernel: native_depthwise_conv(x, kernel, stride), x, kernel)[1](dy)


def cpu_depthwise_conv_gradients(
    x: jax.Array, kernel: jax.Array, dy: jax.Array, stride: int
) -> tuple[jax.Array, jax.Array]:
    """The same for the CPU, from shifted images too."""
    dkernel = _kernel_gradient(x, dy, kernel.shape[0], stride)
    return _input_gradient(x.shape, kernel, dy, stride), dkernel.astype(kernel.dtype)


def _same_padding(shape: tuple[int, ...], size: int, stride: int) -> list[tuple[int, int]]:
    return lax.padtype_to_pads(shape[1:3], (size, size), (stride, stride), "SAME")


def _pad(x: jax.Array, size: int, stride: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), *_same_padding(x.shape, size, stride), (0, 0)))


def _shifted(x_padded: jax.Array, size: int, stride: int) -> list[jax.Array]:
    """For every tap, row by row, what it meets of the padded image: size * size arrays like the output."""
    height, width = (n - size + 1 for n in x_padded.shape[1:3])
    return [
        x_padded[:, i : i + height : stride, j : j + width : stride]
        for i, j in itertools.product(range(size), repeat=2)
    ]


def _kernel_gradient(x: jax.Array, dy: jax.Array, size: int, stride: int) -> jax.Array:
    """All taps are summed in one pass over each image, which a core holds in its cache; the padded image is in memory.

    Without the barrier every single read would ask whether it meets the padding.
    """
    x_padded = lax.optimization_barrier(_pad(x, size, stride)).astype(jnp.float32)
    products = [shifted * dy for shifted in _shifted(x_padded, size, stride)]
    zeros = [jnp.float32(0)] * len(products)
    by_image = lax.reduce(
        products, zeros, lambda sums, terms: [s + t for s, t in zip(sums, terms, strict=True)], (1, 2)
    )
    return jnp.sum(jnp.stack(by_image), axis=1).reshape(size, size, 1, -1)


def _input_gradient(shape: tuple[int, ...], kernel: jax.Array, dy: jax.Array, stride: int) -> jax.Array:
    """Rows and columns of x with the same remainder by the stride meet the same taps: one sum for each such phase."""
    size = kernel.shape[0]
    before_height, before_width = (before for before, _ in _same_padding(shape, size, stride))
    margin = size // 2
    dy_padded = jnp.pad(dy, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    height, width = dy.shape[1:3]

    def phase(row: int, column: int) -> jax.Array:
        met = itertools.product(
            _met_taps(row + before_height, size, stride), _met_taps(column + before_width, size, stride)
        )
        return sum(
            kernel[i, j, 0] * dy_padded[:, margin + di :, margin + dj :][:, :height, :width] for (i, di), (j, dj) in met
        )

    rows = [jnp.stack([phase(row, column) for column in range(stride)], axis=3) for row in range(stride)]
    dx = jnp.stack(rows, axis=2).reshape(shape[0], stride * height, stride * width, shape[3])
    return dx[:, : shape[1], : shape[2]]


def _met_taps(position: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Taps that meet this position of the padded image, each with the output that it then adds to."""
    return [(tap, (position - tap) // stride) for tap in range(size) if (position - tap) % stride == 0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """x [b, h, w, c], kernel [k, k, 1, c] with odd k -> [b, h / stride, w / stride, c], rounded up."""
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(cpu_depthwise_conv, stride=stride),
        default=functools.partial(native_depthwise_conv, stride=stride),
    )


def _depthwise_conv_backward(
    stride: int, residuals: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return lax.platform_dependent(
        *residuals,
        dy,
        cpu=functools.partial(cpu_depthwise_conv_gradients, stride=stride),
        default=functools.partial(native_depthwise_conv_gradients, stride=stride),
    )


depthwise_conv.defvjp(
    lambda x, kernel, stride: (depthwise_conv(x, kernel, stride), (x, kernel)), _depthwise_conv_backward
)


class DepthwiseConv(nn.Module):
    """Depthwise convolution without bias, padded with zeros to "SAME".

    Attributes:
        size: side of the square kernel, odd.
        stride: the same in height and width.
        dtype: type computed in; the kernel is kept in float32.
    """

    size: int
    stride: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, 1, x.shape[-1])
        kernel = self.param("kernel", nn.initializers.variance_scaling(2.0, "fan_in", "normal"), shape)
        return depthwise_conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)

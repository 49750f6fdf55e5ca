"""BatchNorm and Dropout, whose batches may be split over devices."""

import functools
from typing import TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Tree = TypeVar("Tree")

DATA = "data"
"""The mesh axis that a batch is split over."""


def mean_over_devices(values: Tree, axis_name: str | None) -> Tree:
    """Means of arrays over the devices along a mesh axis; for one device alone, no copy as the compiler would make."""
    return lax.pmean(values, axis_name) if axis_name and lax.axis_size(axis_name) > 1 else values


def batch_mean(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean of every channel in float32, over the devices of `axis_name` too."""
    return mean_over_devices(jnp.mean(x, axis=tuple(range(x.ndim - 1)), dtype=jnp.float32), axis_name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises each channel by the statistics of the batch -> (y like x, mean [channels], variance [channels]).

    The batch is that of all devices along the mesh axis `axis_name`. Mean and variance are float32, the variance is the
    biased one, and no gradient flows through either. The gradient is the analytic one, in two reductions.
    """
    return _batch_norm_forward(x, scale, bias, epsilon, axis_name)[0]


def _batch_norm_forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    mean = batch_mean(x, axis_name)
    variance = jnp.maximum(batch_mean(jnp.square(x.astype(jnp.float32)), axis_name) - mean**2, 0)
    inverse = lax.rsqrt(variance + epsilon)
    y = x * (inverse * scale) + (bias - mean * inverse * scale)
    return (y.astype(x.dtype), mean, variance), (x, scale, mean, inverse)


def _batch_norm_backward(
    epsilon: float, axis_name: str | None, residuals: tuple[jax.Array, ...], cotangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array, jax.Array]:
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
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
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
            update_running(batches, self.momentum, (mean, current_mean), (variance, unbiased))
        return y


def update_running(batches: nn.Variable, momentum: float, *running: tuple[nn.Variable, jax.Array]) -> None:
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
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if not train or not self.rate:
            return x
        rows, devices, place = len(x), 1, 0
        if self.axis_name and not self.is_initializing():
            devices, place = lax.axis_size(self.axis_name), lax.axis_index(self.axis_name)
        shape = (devices * rows, *([1] * (x.ndim - 1) if self.whole_rows else x.shape[1:]))
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape)
        kept = lax.dynamic_slice_in_dim(kept, place * rows, rows)
        return jnp.where(kept, x / (1 - self.rate), 0).astype(x.dtype)

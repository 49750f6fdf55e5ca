"""EfficientNet-B0 (Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019),
and on it the encoder of Kuroyanagi et al., EUSIPCO 2022: an embedding, a machine logit and product logits."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from asd_jax.models.depthwise import DepthwiseConv
from asd_jax.models.layers import Conv
from asd_jax.models.norms import BatchNorm, Dropout

STAGES = (
    # expansion, channels, blocks, stride, kernel size
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Stages 2 to 8 of Table 1; a stage's stride is that of its first block."""
_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280
_fan_out_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_swish = jax.checkpoint(nn.swish)
"""Its gradient computes the sigmoid again, which is quicker than to keep it in memory."""


class MBConv(nn.Module):
    """Inverted bottleneck: 1x1 to the expanded width, depthwise convolution, squeeze-and-excitation, 1x1 back.

    Attributes:
        expansion: expanded width over that of the input; with 1 the first convolution is left out.
        drop_path: probability with which a training clip skips the block, where there is a way around it:
            stride 1 and as many channels out as in.
    """

    expansion: int
    channels: int
    stride: int
    size: int
    drop_path: float
    dtype: jnp.dtype
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        conv = functools.partial(Conv, size=1, kernel_init=_fan_out_normal, dtype=self.dtype)
        dense = functools.partial(nn.Dense, kernel_init=_fan_out_normal, dtype=self.dtype)
        norm = functools.partial(_norm, self.axis_name)
        width, expanded = x.shape[-1], x.shape[-1] * self.expansion
        y = x
        if self.expansion > 1:
            y = _swish(norm("expand_norm")(conv(expanded, name="expand")(y), train))
        y = DepthwiseConv(self.size, self.stride, self.dtype, name="depthwise")(y)
        y = _swish(norm("depthwise_norm")(y, train))
        gate = _swish(dense(max(1, width // 4), name="squeeze")(jnp.mean(y, axis=(1, 2), dtype=jnp.float32)))
        y = y * nn.sigmoid(dense(expanded, name="excite")(gate))[:, None, None]
        y = norm("project_norm")(conv(self.channels, name="project")(y), train)
        if self.stride > 1 or self.channels != width:
            return y
        return x + Dropout(self.drop_path, whole_rows=True, axis_name=self.axis_name)(y, train)


def _norm(axis_name: str | None, name: str) -> BatchNorm:
    """BatchNorm as EfficientNet has it."""
    return BatchNorm(axis_name, momentum=0.99, epsilon=1e-3, name=name)


class EfficientNet(nn.Module):
    """Images to maps of features, everything before the pooling.

    Attributes:
        width, depth: factors on channels (rounded to multiples of 8) and on blocks per stage (rounded up); 1 for B0.
        drop_path: the probability of `MBConv` that the last block would have; it grows from 0 with the depth.
        dtype: type computed in; parameters and BatchNorm statistics stay float32.
        axis_name: mesh axis that the batch is split over, for the statistics of BatchNorm.
        remat: whether the gradients compute the activations within a block again, instead of keeping them.
    """

    width: float = 1.0
    depth: float = 1.0
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """x [batch, height, width, in] -> [batch, ceil(height / 32), ceil(width / 32), 1280 * the width factor]."""
        conv = functools.partial(Conv, kernel_init=_fan_out_normal, dtype=self.dtype)
        norm = functools.partial(_norm, self.axis_name)
        pads = jax.lax.padtype_to_pads(x.shape[1:3], (3, 3), (2, 2), "SAME")
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        x = _swish(norm("stem_norm")(conv(self._channels(_STEM_CHANNELS), 3, 2, name="stem")(x), train))
        block_type = nn.remat(MBConv, static_argnums=2) if self.remat else MBConv
        counts = [math.ceil(self.depth * blocks) for _, _, blocks, _, _ in STAGES]
        for stage, (expansion, channels, _, stride, size) in enumerate(STAGES):
            for block in range(counts[stage]):
                x = block_type(
                    expansion,
                    self._channels(channels),
                    stride if block == 0 else 1,
                    size,
                    self.drop_path * (sum(counts[:stage]) + block) / sum(counts),
                    self.dtype,
                    self.axis_name,
                    name=f"block_{stage}_{block}",
                )(x, train)
        return _swish(norm("head_norm")(conv(self._channels(_HEAD_CHANNELS), 1, name="head")(x), train))

    def _channels(self, channels: int) -> int:
        return max(8, round(self.width * channels / 8) * 8)


class Encoder(nn.Module):
    """Paper 2's network: EfficientNet, mean over its maps, two layers to the embedding, and the two heads (section II).

    Attributes:
        products: number of product logits.
        dropout: share of the pooled features that a training step leaves out.
        width, depth, drop_path, dtype, axis_name, remat: those of `EfficientNet`.
    """

    products: int
    width: float = 1.0
    depth: float = 1.0
    dropout: float = 0.3
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, log_mels: jax.Array, train: bool) -> dict[str, jax.Array]:
        """log_mels [batch, frames, mels] -> "embedding" [batch, 128], "machine" [batch], "product" [batch, products].

        All outputs are float32; the two last are logits. Training draws from the random numbers "dropout".
        """
        images = jnp.swapaxes(log_mels, 1, 2)[..., None]  # mel bands are rows, as for published weights
        options = (self.width, self.depth, self.drop_path, self.dtype, self.axis_name, self.remat)
        x = EfficientNet(*options, name="backbone")(images, train)
        x = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        x = Dropout(self.dropout, axis_name=self.axis_name)(x, train)
        x = _linear(x.shape[-1], 128)(x)
        x = nn.PReLU(negative_slope_init=0.25)(BatchNorm(self.axis_name)(x, train))
        embedding = _linear(128, 128)(x)
        square = jnp.mean(embedding**2, axis=-1, keepdims=True)  # Eq. 2
        return {
            "embedding": embedding,
            "machine": _linear(1, 1, name="machine")(square)[:, 0],
            "product": _linear(128, self.products, use_bias=False, name="product")(embedding),
        }


def _linear(fan_in: int, features: int, **options: bool | str) -> nn.Dense:
    """A dense layer that starts as PyTorch's do: all uniform within 1 / sqrt(fan_in)."""

    def uniform(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -(fan_in**-0.5), fan_in**-0.5)

    return nn.Dense(features, kernel_init=uniform, bias_init=uniform, **options)

"""The ResNet of Primus et al., "Anomalous Sound Detection as a Simple Binary Classification Problem with Careful
Selection of Proxy Outlier Examples" (DCASE 2020 workshop), section 3, with the details of the released code."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from asd_jax.models.layers import Conv, max_pool
from asd_jax.models.norms import BatchNorm

_POOLED_BLOCKS = (0, 1, 3)
"""Blocks of the first stage that a 2x2 max-pool follows."""
_POINTWISE_BLOCKS = (0, 3)
"""Blocks of the first stage whose second convolution is 1x1, which bounds the receptive field."""


class Block(nn.Module):
    """conv-BN-ReLU-conv-BN, added to the input (projected where the width changes), ReLU.

    Attributes:
        sizes: kernel sizes of the two convolutions.
        fixup_depth: number of blocks of the network under fixup initialisation, 0 for the default one.
    """

    width: int
    sizes: tuple[int, int]
    fixup_depth: int
    dtype: jnp.dtype
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        def conv_norm(x: jax.Array, size: int, **init: nn.initializers.Initializer) -> jax.Array:
            x = Conv(self.width, size, padding=size // 3, dtype=self.dtype, **init)(x)
            return BatchNorm(self.axis_name)(x, train)

        first = second = shortcut = {}
        if self.fixup_depth:
            std = math.sqrt(2 / (self.sizes[0] ** 2 * self.width))
            first = {"kernel_init": nn.initializers.normal(std / math.sqrt(self.fixup_depth))}
            second = {"kernel_init": nn.initializers.zeros}
            shortcut = {"kernel_init": nn.initializers.normal(math.sqrt(2 / self.width))}
        y = nn.relu(conv_norm(x, self.sizes[0], **first))
        y = conv_norm(y, self.sizes[1], **second)
        if x.shape[-1] != self.width:
            x = conv_norm(x, 1, **shortcut)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Log-mel windows to one logit each: how much a window sounds like the outliers.

    Attributes:
        blocks: residual blocks of the three stages: (4, 4, 4) in the paper, (4, 1, 2) in the released code.
        width: channels of the first stage; the other two have twice and four times as many.
        dtype: type computed in; parameters, BatchNorm statistics and logits stay float32.
        axis_name: mesh axis that the batch is split over, for the statistics of BatchNorm.
        fixup: the released code's initialisation instead of Kaiming's.
    """

    blocks: tuple[int, int, int] = (4, 4, 4)
    width: int = 64
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    fixup: bool = False

    @nn.compact
    def __call__(self, log_mels: jax.Array, train: bool) -> jax.Array:
        """log_mels [batch, frames, mels] -> logits [batch], float32.

        Raises:
            ValueError: a window is too small for the convolution and the max-pools.
        """
        self._check_size(*log_mels.shape[1:])
        x = Conv(self.width, 5, stride=2, padding=1, dtype=self.dtype)(log_mels[..., None])
        x = nn.relu(BatchNorm(self.axis_name)(x, train))
        for stage, blocks in enumerate(self.blocks):
            for block in range(blocks):
                sizes = (3, 1 if block in _POINTWISE_BLOCKS else 3) if stage == 0 else (1, 1)
                depth = sum(self.blocks) if self.fixup else 0
                x = Block(self.width * 2**stage, sizes, depth, self.dtype, self.axis_name)(x, train)
                if stage == 0 and block in _POOLED_BLOCKS:
                    x = max_pool(x)
        last_init = {"kernel_init": nn.initializers.zeros} if self.fixup else {}
        x = Conv(1, 1, dtype=self.dtype, **last_init)(x)
        x = BatchNorm(self.axis_name)(x, train)
        return jnp.mean(x, axis=(1, 2, 3), dtype=jnp.float32)

    def _check_size(self, frames: int, mels: int) -> None:
        pools = sum(block < self.blocks[0] for block in _POOLED_BLOCKS)
        smallest = 2 ** (pools + 1) + 1
        if min(frames, mels) < smallest:
            raise ValueError(
                f"A window of {frames} frames x {mels} mel bands is too small for this ResNet, "
                f"which needs at least {smallest} x {smallest}."
            )

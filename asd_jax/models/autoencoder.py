"""The dense autoencoders that paper 1 compares with: its own, and the official baseline of DCASE 2020 Task 2."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from asd_jax.models.norms import BatchNorm


class DenseAutoencoder(nn.Module):
    """Vectors to their reconstructions, through hidden layers with BatchNorm and ReLU, the narrowest one included.

    Attributes:
        widths: of the hidden layers: (128, 128, 128, 8, 128, 128, 128) in paper 1's released code.
        kernel_gain: the weights are uniform, with this variance times 2 / (inputs + outputs) (Xavier).
        bias: what the biases start at.
        momentum, epsilon: of BatchNorm.
        axis_name: mesh axis that the batch is split over, for the statistics of BatchNorm.
        dtype: type computed in; parameters, BatchNorm statistics and results stay float32.
    """

    widths: tuple[int, ...] = (128, 128, 128, 8, 128, 128, 128)
    kernel_gain: float = 2.0
    bias: float = 0.01
    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """x [batch, size] -> [batch, size]."""

        def dense(width: int) -> nn.Dense:
            kernel_init = nn.initializers.variance_scaling(self.kernel_gain, "fan_avg", "uniform")
            bias_init = nn.initializers.constant(self.bias)
            return nn.Dense(width, kernel_init=kernel_init, bias_init=bias_init, dtype=self.dtype)

        y = x
        for width in self.widths:
            y = nn.relu(BatchNorm(self.axis_name, self.momentum, self.epsilon)(dense(width)(y), train))
        return dense(x.shape[-1])(y).astype(jnp.float32)

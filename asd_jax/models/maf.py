"""The masked autoregressive flow of Papamakarios et al. (2017), given a machine ID: the density baseline of paper 1.

Sizes, activations and the way the machine ID enters are those of Haunschmid and Praher, "Anomalous Sound Detection with
Masked Autoregressive Flows and Machine Type Dependent Postprocessing" (DCASE 2020 challenge), system 2. Not published
are the order of the inputs and the initialisation, which is PyTorch's default for linear layers here.

Hidden units and outputs stand in the order of their degrees, so every masked kernel is zero below a staircase, and the
products leave most of that out: 3/8 of the arithmetic of training and scoring.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from asd_jax.models.norms import batch_mean, update_running

INPUT_ORDERS = ("sequential", "random")
_GROUPS = 4
"""Of inputs in a masked product: more of them leave more zeros out, but are smaller products."""


def masked_product(x: jax.Array, kernel: jax.Array, in_degrees: np.ndarray, out_degrees: np.ndarray) -> jax.Array:
    """x @ (kernel * mask), where the mask is 1 from inputs to outputs of the same or a higher degree.

    Each group of inputs is multiplied only by the columns from the first one on that it is connected to. What that
    leaves out, autodiff leaves out of the gradients too.

    Args:
        x: [batch, inputs].
        kernel: [inputs, outputs].
        in_degrees, out_degrees: of the inputs and of the outputs, ascending.
    """
    groups = np.array_split(in_degrees, min(_GROUPS, len(in_degrees)))
    sizes = [len(degrees) for degrees in groups]
    parts = list(zip(lax.split(x, sizes, axis=1), lax.split(kernel, sizes, axis=0), groups, strict=True))
    y = jnp.zeros((len(x), 0), x.dtype)
    for values, rows, degrees in reversed(parts):
        start = np.searchsorted(out_degrees, degrees[0])
        mask = degrees[:, None] <= out_degrees[start:]
        y = values @ jnp.where(mask, rows[:, start:], 0) + _pad_left(y, len(out_degrees) - start)
    return _pad_left(y, len(out_degrees))


def _pad_left(y: jax.Array, width: int) -> jax.Array:
    return jnp.pad(y, ((0, 0), (width - y.shape[1], 0)))


def _uniform(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default for the weights and biases of a linear layer."""
    bound = 1 / math.sqrt(fan_in)
    return lambda key, shape: jax.random.uniform(key, shape, minval=-bound, maxval=bound)


class MaskedDense(nn.Module):
    """Linear layer with the connections that `masked_product` has.

    Attributes:
        dtype: type computed in; the parameters are kept in float32.
    """

    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, in_degrees: np.ndarray, out_degrees: np.ndarray) -> jax.Array:
        init = _uniform(len(in_degrees))
        kernel = self.param("kernel", init, (len(in_degrees), len(out_degrees)))
        bias = self.param("bias", init, (len(out_degrees),))
        y = masked_product(x.astype(self.dtype), kernel.astype(self.dtype), in_degrees, out_degrees)
        return y + bias.astype(self.dtype)


class MADE(nn.Module):
    """x [batch, dims], condition [batch] -> mean and log-scale of each value given those before it, [batch, dims] each.

    The condition enters the first hidden layer, so what the network says of the very first value does not depend on it.

    Attributes:
        conditions: number of conditions.
        hidden: units of a hidden layer.
        hidden_layers: from hidden to hidden, after the one from the inputs.
        dtype: type computed in; parameters and results are float32.
    """

    conditions: int
    hidden: int
    hidden_layers: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> tuple[jax.Array, jax.Array]:
        inputs = 1 + np.arange(x.shape[1])
        hidden = np.sort(1 + np.arange(self.hidden) % max(x.shape[1] - 1, 1))
        outputs = np.repeat(inputs - 1, 2)
        init = nn.initializers.uniform(1 / math.sqrt(self.conditions))
        rows = self.param("condition", init, (self.conditions, self.hidden)).astype(self.dtype)
        # A product with ones and zeros: on the CPU, taking rows takes several times as long.
        one_hot = jax.nn.one_hot(condition, self.conditions, dtype=self.dtype)
        h = nn.relu(MaskedDense(self.dtype)(x, inputs, hidden) + one_hot @ rows)
        for _ in range(self.hidden_layers):
            h = nn.relu(MaskedDense(self.dtype)(h, hidden, hidden))
        y = MaskedDense(self.dtype)(h, hidden, outputs).astype(jnp.float32)
        mean, log_scale = jnp.moveaxis(y.reshape(*x.shape, 2), -1, 0)
        return mean, log_scale


class FlowBatchNorm(nn.Module):
    """BatchNorm as a step of a flow: x [batch, dims] -> the mean and log-scale [dims] that it normalises by.

    (x - mean) * exp(-log_scale) is x by the statistics of the batch (in training) or the running ones, times
    exp(log_gamma), which is positive, plus beta. Gradients flow through the statistics of the batch; the running ones
    are kept as `norms.BatchNorm` keeps them.

    Attributes:
        axis_name: mesh axis that the batch is split over; None for a batch on one device.
    """

    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        dims = x.shape[1:]
        log_gamma = self.param("log_gamma", nn.initializers.zeros, dims)
        beta = self.param("beta", nn.initializers.zeros, dims)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, dims)
        running_variance = self.variable("batch_stats", "var", jnp.ones, dims)
        batches = self.variable("batch_stats", "batches", jnp.zeros, ())
        mean, variance = running_mean.value, running_variance.value
        if train and not self.is_initializing():  # init runs outside the mesh
            mean = batch_mean(x, self.axis_name)
            variance = batch_mean(jnp.square(x - mean), self.axis_name)
            count = len(x) * (lax.axis_size(self.axis_name) if self.axis_name else 1)
            unbiased = variance * (count / max(count - 1, 1))
            seen = lax.stop_gradient((mean, unbiased))
            update_running(batches, self.momentum, (running_mean, seen[0]), (running_variance, seen[1]))
        log_scale = 0.5 * jnp.log(variance + self.epsilon) - log_gamma
        return mean - beta * jnp.exp(log_scale), log_scale


class MAF(nn.Module):
    """A density of vectors for each condition: an invertible map of x to z, which is standard normal.

    Every block is a MADE and a BatchNorm, and the next one sees the values in the reverse order. Both steps are
    x -> (x - mean) * exp(-log_scale).

    Attributes:
        conditions: number of conditions: machine IDs.
        blocks: MADEs, each followed by BatchNorm.
        hidden: units of a hidden layer.
        hidden_layers: of each MADE from hidden to hidden, after the one from the inputs.
        input_order: of the first block: "sequential", or "random", which is drawn from `order_seed`. Neither paper nor
            code says which of the two.
        axis_name: mesh axis that the batch is split over, for the statistics of BatchNorm.
        dtype: type that the MADEs compute in; parameters, statistics and results stay float32.
    """

    conditions: int
    blocks: int = 4
    hidden: int = 2048
    hidden_layers: int = 1
    input_order: str = "sequential"
    order_seed: int = 0
    axis_name: str | None = None
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        made = (self.conditions, self.hidden, self.hidden_layers, self.dtype)
        self.mades = [MADE(*made) for _ in range(self.blocks)]
        self.norms = [FlowBatchNorm(self.axis_name) for _ in range(self.blocks)]

    def __call__(self, x: jax.Array, condition: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """x [batch, dims], condition [batch] integers -> z [batch, dims], log |det dz/dx| [batch].

        In training the statistics of the batch count as constants of the map in that determinant, though gradients
        flow through them.

        Raises:
            ValueError: x, condition or the order of the inputs is not one of those described.
        """
        x = x.astype(jnp.float32)[:, self._order(x, condition)]
        log_det = jnp.zeros(len(x))
        for made, norm in zip(self.mades, self.norms, strict=True):
            mean, log_scale = made(x, condition)
            x = (x - mean) * jnp.exp(-log_scale)
            norm_mean, norm_log_scale = norm(x, train)
            x = ((x - norm_mean) * jnp.exp(-norm_log_scale))[:, ::-1]
            log_det -= log_scale.sum(1) + norm_log_scale.sum()
        return x, log_det

    def log_density(self, x: jax.Array, condition: jax.Array, train: bool) -> jax.Array:
        """log p(x | condition) [batch], float32; x and condition as above."""
        z, log_det = self(x, condition, train)
        return log_det - 0.5 * (jnp.square(z).sum(1) + z.shape[1] * math.log(2 * math.pi))

    def inverse(self, z: jax.Array, condition: jax.Array) -> jax.Array:
        """The x [batch, dims] that `__call__` maps to z in evaluation, found value by value: slow."""
        order = self._order(z, condition)
        x = z.astype(jnp.float32)
        for made, norm in zip(reversed(self.mades), reversed(self.norms), strict=True):
            mean, log_scale = norm(x, train=False)
            u = x[:, ::-1] * jnp.exp(log_scale) + mean
            network, variables = made.unbind()

            def with_next_value(place: int, x: jax.Array) -> jax.Array:
                mean, log_scale = network.apply(variables, x, condition)
                return x.at[:, place].set((u * jnp.exp(log_scale) + mean)[:, place])

            x = lax.fori_loop(0, z.shape[1], with_next_value, jnp.zeros_like(u))
        return x[:, np.argsort(order)]

    def _order(self, x: jax.Array, condition: jax.Array) -> np.ndarray:
        """Which value of a vector is the first, the second, ... of the first block."""
        if x.ndim != 2 or condition.shape != x.shape[:1] or not jnp.issubdtype(condition.dtype, jnp.integer):
            raise ValueError(
                f"The flow got x {x.dtype}{list(x.shape)} and condition {condition.dtype}{list(condition.shape)}; "
                "it needs x [batch, dims] and an integer condition [batch]."
            )
        if self.input_order not in INPUT_ORDERS:
            raise ValueError(f"Input order {self.input_order!r}: expected one of {', '.join(INPUT_ORDERS)}.")
        order = np.arange(x.shape[1])
        return order if self.input_order == "sequential" else np.random.default_rng(self.order_seed).permutation(order)

"""A stand-in for paper 2's encoder that compiles in a moment: the same outputs from two dense layers."""

import flax.linen as nn
import jax.numpy as jnp

from asd_jax.models.norms import BatchNorm, Dropout


class TinyEncoder(nn.Module):
    products: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, log_mels, train):
        x = nn.Dense(16)(log_mels.astype(jnp.float32).mean(1))
        x = BatchNorm(self.axis_name)(Dropout(0.2, axis_name=self.axis_name)(x, train), train)
        x = Dropout(0.2, whole_rows=True, axis_name=self.axis_name)(nn.relu(x), train)
        embedding = nn.Dense(8)(x)
        return {
            "embedding": embedding,
            "machine": nn.Dense(1)(jnp.mean(embedding**2, axis=1, keepdims=True))[:, 0],
            "product": nn.Dense(self.products, use_bias=False, name="product")(embedding),
        }

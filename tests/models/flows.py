"""Flows for tests, and what is asked of them."""

import functools

import jax
import numpy as np
import pytest

from asd_jax.models.maf import MAF

DIMS, CONDITIONS, BATCH = 7, 3, 8
FLOWS = {
    "sequential": MAF(CONDITIONS, blocks=2, hidden=23),
    "random": MAF(CONDITIONS, blocks=3, hidden=5, hidden_layers=0, input_order="random", order_seed=1),
}


flows = pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def data(batch=BATCH, dims=DIMS):
    return 0.5 + 1.5 * normal(0, batch, dims), np.arange(batch, dtype=np.int32) % CONDITIONS


@functools.partial(jax.jit, static_argnums=0, static_argnames=("train", "mutable", "method"))
def apply(module, variables, *inputs, **options):
    return module.apply(variables, *inputs, **options)


@functools.partial(jax.jit, static_argnums=0, static_argnames="train")
def init(module, *inputs, **options):
    return module.init(jax.random.key(0), *inputs, **options)


@functools.partial(jax.jit, static_argnums=0, static_argnames="train")
def jacobians(module, variables, x, condition, **options):
    """The Jacobians of the module's two results by x, each row alone: [batch, dims, dims] of [batch, dims]."""

    def of_row(x, condition):
        return jax.tree.map(lambda y: y[0], module.apply(variables, x[None], condition[None], **options))

    return jax.vmap(jax.jacobian(of_row))(x, condition)


def initialise(flow, x, condition):
    """Parameters that are not the initial ones, where BatchNorm neither scales nor shifts; some running statistics."""
    variables = init(flow, x, condition, train=True)
    params = jax.tree.map(lambda p: p + 0.1 * normal(p.size, *p.shape), variables["params"])
    stats = {"mean": normal(7, x.shape[1]), "var": np.exp(normal(8, x.shape[1])), "batches": np.float32(9)}
    return {"params": params, "batch_stats": dict.fromkeys(variables["batch_stats"], stats)}


def assert_close(actual, expected, tolerance=2e-5):
    """Equal to float rounding, relative to the largest value."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * (1 + np.abs(b).max(initial=0))),
        actual,
        expected,
    )

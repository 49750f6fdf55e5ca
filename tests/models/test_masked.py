"""The flow's products leave out zeros only, and a value has a say in those after it alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.models import maf
from asd_jax.models.maf import MADE, MAF, masked_product
from tests.models.flows import (
    CONDITIONS,
    DIMS,
    assert_close,
    data,
    init,
    initialise,
    jacobians,
    normal,
)


@pytest.mark.parametrize("groups", [1, 3, 100])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (7, 5), (12, 31)])
def test_the_product_and_its_gradients_are_those_of_the_masked_kernel(inputs, outputs, groups, monkeypatch):
    monkeypatch.setattr(maf, "_GROUPS", groups)
    rng = np.random.default_rng(inputs)
    in_degrees, out_degrees = (np.sort(rng.integers(low, 10, n)) for low, n in ((1, inputs), (0, outputs)))
    x, kernel, dy = normal(0, 6, inputs), normal(1, inputs, outputs), normal(2, 6, outputs)

    def plain(x, kernel):
        return x @ (kernel * np.float32(in_degrees[:, None] <= out_degrees))

    def with_gradients(function):
        y, vjp = jax.vjp(function, x, kernel)
        return y, vjp(dy)

    found = jax.jit(with_gradients, static_argnums=0)(
        lambda x, kernel: masked_product(x, kernel, in_degrees, out_degrees)
    )
    assert_close(found, with_gradients(plain), 1e-6)


def test_three_eighths_of_the_arithmetic_are_left_out():
    degrees = np.arange(256)
    x, kernel = jnp.ones((64, 256)), jnp.ones((256, 256))

    def operations(function):
        gradients = jax.jit(jax.grad(lambda x, kernel: function(x, kernel).sum(), (0, 1)))
        return gradients.lower(x, kernel).compile().cost_analysis()["flops"]

    left = operations(lambda x, kernel: masked_product(x, kernel, degrees, degrees)) / operations(jnp.matmul)
    assert left == pytest.approx(5 / 8, abs=0.02)


@pytest.mark.parametrize(("dims", "hidden", "hidden_layers"), [(7, 23, 1), (7, 6, 2), (6, 11, 0), (2, 3, 1)])
def test_exactly_the_values_before_have_a_say_in_each_mean_and_log_scale(dims, hidden, hidden_layers):
    made = MADE(CONDITIONS, hidden, hidden_layers, jnp.float32)
    x, condition = data(dims=dims)
    variables = init(made, x, condition)
    open_units = jax.tree.map(lambda p: jnp.abs(p) + 0.1, variables)  # no ReLU hides a connection
    before = np.tril(np.ones((dims, dims), bool), -1)
    for found in jacobians(made, open_units, np.abs(x), condition):
        assert ((found != 0) == before).all()


def test_every_masked_weight_is_one_of_an_allowed_connection_and_every_other_one_has_a_say():
    flow = MAF(CONDITIONS, blocks=1, hidden=23)
    x, condition = data()
    variables = initialise(flow, x, condition)
    params = jax.tree.map(lambda p: jnp.abs(p) + 0.1, variables["params"]["mades_0"])
    made = MADE(CONDITIONS, 23, 1, jnp.float32)

    def total(params):
        mean, log_scale = made.apply({"params": params}, jnp.abs(x), condition)
        return mean.sum() + log_scale.sum()

    gradients = jax.jit(jax.grad(total))(params)
    inputs, hidden = np.arange(1, DIMS + 1), np.sort(np.arange(23) % (DIMS - 1) + 1)
    degrees = [inputs, hidden, hidden, np.repeat(inputs, 2)]
    for layer in range(3):
        before, after = degrees[layer][:, None], degrees[layer + 1]
        allowed = before < after if layer == 2 else before <= after
        leads_on = allowed & (before < DIMS)  # the last input has nothing after it
        assert ((gradients[f"MaskedDense_{layer}"]["kernel"] != 0) == leads_on).all()

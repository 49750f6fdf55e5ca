"""The flow is an invertible map with the Jacobian it says it has, and its products leave out zeros only."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from asd_jax.models.maf import MADE, MAF, FlowBatchNorm
from tests.fake_devices import DEVICES
from tests.models.flows import (
    BATCH,
    CONDITIONS,
    DIMS,
    FLOWS,
    apply,
    assert_close,
    data,
    flows,
    init,
    initialise,
    jacobians,
    normal,
)


@flows
def test_the_jacobian_is_triangular_in_the_order_of_the_inputs_for_one_block(flow):
    one = flow.clone(blocks=1)
    x, condition = data()
    variables = initialise(one, x, condition)
    found = jacobians(one, variables, x, condition, train=False)[0][:, ::-1]
    order = np.arange(DIMS)
    if flow.input_order == "random":
        order = np.random.default_rng(flow.order_seed).permutation(DIMS)
        assert (order != np.arange(DIMS)).any()
    assert (np.triu(found[:, :, order], 1) == 0).all()
    assert (np.diagonal(found[:, :, order], axis1=1, axis2=2) > 0).all()


def test_the_order_is_reversed_from_block_to_block():
    """What has seen every value comes first then, so that after two blocks every output depends on every input."""
    flow = FLOWS["sequential"]
    x, condition = data()
    variables = initialise(flow, x, condition)
    found, _ = jacobians(flow, variables, x, condition, train=False)
    assert (np.abs(found).max(0) > 0).all()


@flows
def test_the_inverse_undoes_the_flow(flow):
    x, condition = data()
    variables = initialise(flow, x, condition)
    z, _ = apply(flow, variables, x, condition, train=False)
    assert np.abs(z - x).max() > 0.1
    assert_close(apply(flow, variables, z, condition, method=MAF.inverse), x, 1e-4)


@flows
def test_the_log_determinant_is_that_of_the_jacobian(flow):
    x, condition = data()
    variables = initialise(flow, x, condition)
    _, log_det = apply(flow, variables, x, condition, train=False)
    jacobian, _ = jacobians(flow, variables, x, condition, train=False)
    assert_close(log_det, np.linalg.slogdet(jacobian)[1])
    assert np.ptp(log_det) > 0.1


@flows
def test_in_training_it_is_that_of_the_map_with_the_statistics_of_the_batch(flow):
    x, condition = data()
    variables = initialise(flow, x, condition)
    zero = {"batch_stats": jax.tree.map(jnp.zeros_like, variables["batch_stats"])}
    (z, log_det), updated = apply(flow, variables | zero, x, condition, train=True, mutable="batch_stats")
    stats = updated["batch_stats"]  # after the first batch: those of that batch, with its unbiased variance
    frozen = variables | {"batch_stats": {n: s | {"var": s["var"] * (BATCH - 1) / BATCH} for n, s in stats.items()}}
    frozen_z, frozen_log_det = apply(flow, frozen, x, condition, train=False)
    assert_close((z, log_det), (frozen_z, frozen_log_det), 1e-4)
    jacobian, _ = jacobians(flow, frozen, x, condition, train=False)
    assert_close(log_det, np.linalg.slogdet(jacobian)[1], 1e-4)


def test_gradients_flow_through_the_statistics_of_the_batch():
    """A shift and a scaling of the whole batch are undone by BatchNorm, so the loss must not pull at them."""
    norm = FlowBatchNorm()
    x = 3 + 2 * normal(0, 50, 4)
    variables = init(norm, x, train=True)

    def loss(shift, log_factor, constant):
        batch = x * jnp.exp(log_factor) + shift
        (mean, log_scale), _ = apply(norm, variables, batch, train=True, mutable="batch_stats")
        if constant:
            mean, log_scale = jax.lax.stop_gradient((mean, log_scale))
        z = (batch - mean) * jnp.exp(-log_scale)
        return jnp.sum(jnp.sin(z) ** 2 + z)

    gradient = jax.jit(jax.grad(loss, (0, 1)), static_argnums=2)
    start = jnp.zeros(4), jnp.zeros(4)
    assert np.abs(gradient(*start, True)[0]).min() > 1
    assert_close(gradient(*start, False), start, 1e-3)


def test_running_statistics_are_the_mean_over_the_first_batches_and_then_follow_slowly():
    norm = FlowBatchNorm(momentum=0.75)
    batches = [i + normal(i, 50, 3) for i in range(7)]
    variables = init(norm, batches[0], train=True)
    means, variances = ([getattr(x, of)(0, **how) for x in batches] for of, how in (("mean", {}), ("var", {"ddof": 1})))
    for done, x in enumerate(batches, 1):
        variables = variables | apply(norm, variables, x, train=True, mutable="batch_stats")[1]
        if done <= 4:
            assert_close(variables["batch_stats"]["mean"], np.mean(means[:done], axis=0))
            assert_close(variables["batch_stats"]["var"], np.mean(variances[:done], axis=0))
    expected = np.mean(means[:4], axis=0)
    for mean in means[4:]:
        expected = 0.75 * expected + 0.25 * mean
    assert_close(variables["batch_stats"]["mean"], expected)
    mean, log_scale = apply(norm, variables, batches[0], train=False)
    assert_close(mean, expected)
    assert_close(jnp.exp(log_scale) ** 2, variables["batch_stats"]["var"] + 1e-5)


def test_normed_values_have_the_learnt_deviation_and_mean():
    norm = FlowBatchNorm()
    x = 3 + 2 * normal(0, 50, 3)
    variables = init(norm, x, train=True)
    params = {"log_gamma": jnp.array([-1.0, 0.0, 1.0]), "beta": jnp.array([0.0, 5.0, -2.0])}
    (mean, log_scale), _ = apply(norm, variables | {"params": params}, x, train=True, mutable="batch_stats")
    y = (x - mean) * jnp.exp(-log_scale)
    assert_close(y.mean(0), params["beta"], 1e-4)
    assert_close(y.std(0), jnp.exp(params["log_gamma"]), 1e-4)


def test_values_that_do_not_vary_are_scaled_by_the_epsilon():
    norm = FlowBatchNorm()
    x = np.full((6, 2), 3, np.float32)
    (mean, log_scale), _ = apply(norm, init(norm, x, train=True), x, train=True, mutable="batch_stats")
    assert_close((mean, log_scale), (x[0], np.full(2, np.log(1e-5) / 2)))


@pytest.mark.parametrize("dims", [1, 2])
def test_the_density_integrates_to_one(dims):
    flow = MAF(CONDITIONS, blocks=2, hidden=9)
    x, condition = data(dims=dims)
    variables = initialise(flow, x, condition)
    # The grid lies where a grid of z comes from, and beyond.
    z = jnp.stack(jnp.meshgrid(*[jnp.linspace(-5, 5, 41)] * dims), axis=-1).reshape(-1, dims)
    ones = jnp.ones(len(z), jnp.int32)
    reached = apply(flow, variables, z, ones, method=MAF.inverse)
    axes = [jnp.linspace(*bounds, 501) for bounds in zip(reached.min(0), reached.max(0), strict=True)]
    grid = jnp.stack(jnp.meshgrid(*axes), axis=-1).reshape(-1, dims)
    log_density = functools.partial(apply, flow, variables, train=False, method=MAF.log_density)
    density = jnp.exp(log_density(grid, jnp.ones(len(grid), jnp.int32)))
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    assert float(density.sum() * cell) == pytest.approx(1, abs=0.01)


def test_the_log_density_of_a_map_that_changes_nothing_is_the_normal_one():
    flow = FLOWS["sequential"]
    x, condition = data()
    variables = initialise(flow, x, condition)
    variables["params"] = jax.tree.map(np.zeros_like, variables["params"])
    variables["batch_stats"] = dict.fromkeys(
        variables["batch_stats"], {"mean": np.zeros(DIMS), "var": np.ones(DIMS), "batches": np.float32(9)}
    )
    expected = jax.scipy.stats.norm.logpdf(x).sum(1)
    assert_close(apply(flow, variables, x, condition, train=False, method=MAF.log_density), expected, 1e-4)


def test_the_condition_matters():
    flow = FLOWS["sequential"]
    x, _ = data()
    variables = initialise(flow, x, jnp.zeros(BATCH, jnp.int32))
    given = [
        apply(flow, variables, x, jnp.full(BATCH, y), train=False, method=MAF.log_density) for y in range(CONDITIONS)
    ]
    assert np.std(given, axis=0).min() > 1e-3


def test_parameters_are_as_many_as_published():
    shapes = jax.eval_shape(
        lambda key: MAF(41).init(key, jnp.zeros((1, 512)), jnp.zeros(1, jnp.int32), False), jax.random.key(0)
    )
    assert sum(p.size for p in jax.tree.leaves(shapes["params"])) == 29_720_576


def test_initial_weights_lie_within_the_bounds_of_their_layer():
    made = init(MADE(41, 64, 1, jnp.float32), jnp.zeros((1, 100)), jnp.zeros(1, jnp.int32))
    for layer, fan_in in enumerate((100, 64, 64)):
        for p in made["params"][f"MaskedDense_{layer}"].values():
            assert 0.9 < np.abs(p).max() * fan_in**0.5 <= 1 and p.min() < 0
    rows = made["params"]["condition"] * 41**0.5
    assert 0 <= rows.min() < 0.01 and 0.99 < rows.max() <= 1


@pytest.mark.skipif(len(DEVICES) < 4, reason="fewer than four devices")
def test_a_split_batch_is_the_whole_one():
    devices = 4
    mesh = jax.make_mesh((devices,), ("data",), (jax.sharding.AxisType.Auto,), devices=DEVICES[:devices])
    x, condition = data(12)
    flow = FLOWS["sequential"]
    variables = initialise(flow, x, condition)

    def loss(params, x, condition, axis_name):
        log_density, updated = flow.clone(axis_name=axis_name).apply(
            variables | {"params": params}, x, condition, True, mutable="batch_stats", method=MAF.log_density
        )
        return -log_density.mean(), updated["batch_stats"]

    def split(params, x, condition):
        (value, stats), gradients = jax.value_and_grad(loss, has_aux=True)(params, x, condition, "data")
        return stats, *jax.lax.pmean((value, gradients), "data")

    specs = (P(), P("data"), P("data"))
    sharded = jax.jit(jax.shard_map(split, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False))
    stats, value, gradients = sharded(variables["params"], x, condition)
    (expected, expected_stats), expected_gradients = jax.jit(
        jax.value_and_grad(functools.partial(loss, axis_name=None), has_aux=True)
    )(variables["params"], x, condition)
    assert_close((value, stats, gradients), (expected, expected_stats, expected_gradients), 1e-5)


def test_initialisation_runs_outside_the_mesh_and_leaves_the_statistics_at_rest():
    x, condition = data()
    flow = MAF(CONDITIONS, blocks=2, hidden=9, axis_name="data")
    for stats in init(flow, x, condition, train=True)["batch_stats"].values():
        assert (stats["mean"] == 0).all() and (stats["var"] == 1).all() and stats["batches"] == 0


def test_bfloat16_keeps_parameters_statistics_and_results_in_float32():
    flow = MAF(CONDITIONS, blocks=1, hidden=23, dtype=jnp.bfloat16)
    x, condition = data()
    variables = initialise(flow, x, condition)
    log_density, updated = apply(
        flow, variables, x.astype(jnp.bfloat16), condition, train=True, mutable="batch_stats", method=MAF.log_density
    )
    assert {a.dtype for a in jax.tree.leaves((variables, updated, log_density))} == {jnp.dtype(jnp.float32)}
    exact = flow.clone(dtype=jnp.float32)
    expected, _ = apply(exact, variables, x, condition, train=True, mutable="batch_stats", method=MAF.log_density)
    assert 1e-5 < np.abs(log_density - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("changes", "x", "condition", "said"),
    [
        ({}, jnp.ones((4, 2, 3)), jnp.zeros(4, int), r"x float32\[4, 2, 3\].*it needs x \[batch, dims\]"),
        ({}, jnp.ones((4, 2)), jnp.zeros(5, int), r"condition int32\[5\].*integer condition \[batch\]"),
        ({}, jnp.ones((4, 2)), jnp.zeros(4), r"condition float32\[4\].*integer condition \[batch\]"),
        ({"input_order": "reversed"}, jnp.ones((4, 2)), jnp.zeros(4, int), "'reversed': expected .*sequential, random"),
    ],
)
def test_what_does_not_fit_is_said(changes, x, condition, said):
    with pytest.raises(ValueError, match=said):
        MAF(CONDITIONS, blocks=1, hidden=5, **changes).init(jax.random.key(0), x, condition, False)

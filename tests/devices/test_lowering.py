"""The training step as accelerators get it, and what its devices say to each other."""

import re

import jax
import numpy as np
import pytest

from asd_jax.devices.mesh import make_mesh
from asd_jax.devices.steps import Steps, init_states
from asd_jax.methods.proxy_outlier import ProxyOutlier
from asd_jax.models.resnet import ResNet
from asd_jax.recipes.build import AdamW
from tests.fake_devices import DEVICES

METHOD = ProxyOutlier(ResNet((1, 1, 1), 4, axis_name="data"), 32, 32)
CONVOLUTIONS = 10
OPTIMIZER = AdamW(0.99, 0.0)


def traced(runs, devices):
    mesh = make_mesh(runs, 8, DEVICES[:devices])
    names = ("progress", "learning_rate", "b1")
    steps = Steps(mesh, METHOD, OPTIMIZER, False, 1, 8, names, ("product",), (32,), None, np.float16)
    return steps.trace(), jax.eval_shape(init_states(mesh, METHOD, OPTIMIZER), 0, np.arange(runs))


def all_reduces(program):
    """Of a compiled program: how many arrays each takes."""
    return [len(re.findall(r"%", operands)) for operands in re.findall(r" all-reduce\(([^)]*)\)", program)]


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_get_the_compiler_s_convolutions_and_the_state_in_place(platform):
    step, states = traced(1, 2)
    program = step.lower(lowering_platforms=(platform,)).as_text()
    # Each forward and by both gradients, but the gradient of the log-mels.
    assert program.count("stablehlo.convolution") == 3 * CONVOLUTIONS - 1
    assert "stablehlo.reduce_window" in program and "stablehlo.select_and_scatter" in program  # the max-pool's
    assert "stablehlo.while" not in program  # that the CPU's gradients of kernels take
    assert program.count("tf.aliasing_output") == len(jax.tree.leaves(states))


def test_the_cpu_gets_other_convolutions():
    program = traced(1, 2)[0].lower(lowering_platforms=("cpu",)).as_text()
    assert program.count("stablehlo.convolution") < CONVOLUTIONS and "stablehlo.while" in program


def test_gradients_go_together_and_nothing_goes_between_runs():
    step, states = traced(1, 2)
    compiled = step.lower().compile()
    sizes = all_reduces(compiled.as_text())
    gradients, metrics = len(jax.tree.leaves(states.params)), 3
    of_gradients = [size for size in sizes if size > 4]  # those of BatchNorm take the statistics of a layer or two
    assert sum(of_gradients) == gradients + metrics and len(of_gradients) <= 2  # the compiler may take them in two
    state_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(states))
    assert compiled.memory_analysis().alias_size_in_bytes == state_bytes
    assert "all_reduce" not in traced(2, 2)[0].lower().as_text()

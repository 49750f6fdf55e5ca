"""Training steps for tests: one at a time or several a block, on some of the fake devices."""

import jax
import numpy as np

from asd_jax.devices.mesh import make_mesh, put_block, put_everywhere
from asd_jax.devices.steps import init_states, train_steps
from tests.fake_devices import DEVICES


def take_steps(method, optimizer, batches, runs=(0,), devices=1, learning_rate=0.05, seed=0, block=1, log_mels=None):
    """Fresh states after the batches [runs, rows, ...], `block` of them at a time; metrics [steps, runs]; the mesh."""
    batches = list(batches)
    mesh = make_mesh(len(runs), batches[0]["product"].shape[1], DEVICES[:devices])
    states = init_states(mesh, method, optimizer)(seed, np.array(runs, np.int32))
    steps = train_steps(mesh, method, optimizer)
    if log_mels is not None:
        log_mels = put_everywhere(mesh, log_mels)
    told = []
    for first in range(0, len(batches), block):
        part = batches[first : first + block]
        padded = [*part, *[part[0]] * (block - len(part))]
        arrays = {name: np.stack([batch[name] for batch in padded]) for name in part[0]}
        values = {"learning_rate": learning_rate, "b1": 0.9, "progress": 0.0}
        values = {name: np.full(block, value, np.float32) for name, value in values.items()}
        states, metrics = steps(states, log_mels, put_block(mesh, arrays), values, np.int32(len(part)))
        told.append(jax.device_get(metrics))
    return states, jax.tree.map(lambda *x: np.concatenate(x)[: len(batches)], *told), mesh

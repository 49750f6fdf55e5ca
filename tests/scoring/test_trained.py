"""Every window of every clip is scored exactly once."""

import dataclasses

import jax
import numpy as np
import pytest

from asd_jax.datasets.clips import StoredClip
from asd_jax.devices.mesh import make_mesh
from asd_jax.devices.steps import init_states
from asd_jax.methods.proxy_outlier import ProxyOutlier
from asd_jax.recipes.build import make_method, make_optimizer
from asd_jax.recipes.keys import read_recipe
from asd_jax.scoring.trained import Trained
from asd_jax.training.windows import window_batches
from configs import proxy_outlier
from tests.fake_devices import DEVICES


@pytest.mark.parametrize("hop", [1, 3])
@pytest.mark.parametrize("lengths", [[4], [4, 9, 6, 17], [30, 4, 4, 4, 4, 4]])
def test_windows_of_many_clips_share_batches_and_none_is_lost_or_twice(lengths, hop):
    clips = [100.0 * i + np.arange(n)[:, None] + np.zeros((1, 3)) for i, n in enumerate(lengths)]
    seen = []
    for windows, owners in window_batches(clips, 4, lambda frames: np.arange(0, frames - 3, hop), batch_size=5):
        assert windows.shape == (5, 4, 3) and owners.shape == (5,)
        for window, owner in zip(windows, owners, strict=True):
            if owner >= 0:
                np.testing.assert_array_equal(np.diff(window[:, 0]), 1)
                assert window[0, 0] // 100 == owner
                seen.append(window[0, 0])
    expected = [100 * i + start for i, n in enumerate(lengths) for start in range(0, n - 4 + 1, hop)]
    assert sorted(seen) == sorted(expected)
    assert len(seen) == len(set(seen))


def test_every_run_gives_its_outputs_for_the_windows_of_each_clip_in_their_order():
    config = proxy_outlier.get_config("quicktest")
    config.network.blocks, config.network.width, config.window, config.batch_size = (1, 1, 1), 4, 32, 8
    config.score_hop, config.num_runs = 3, 3
    recipe = read_recipe(config, complete=False)
    method, optimizer = make_method(recipe), make_optimizer(recipe)
    mesh = make_mesh(2, config.batch_size, DEVICES[:2])  # three runs on two devices: two groups
    init = init_states(mesh, method, optimizer)
    states = [init(0, np.array(runs, np.int32)) for runs in ([0, 1], [2, 2])]
    clips = [np.random.default_rng(i).normal(size=(n, 128)).astype(np.float16) for i, n in enumerate((32, 70, 41))]
    machine = ("fan", "00")
    named = [StoredClip(machine, str(number), -1, "source", "") for number in range(3)]
    found = list(Trained(recipe, method, [machine], mesh, states).outputs(zip(named, clips, strict=True)))
    assert [clip for clip, _ in found] == named
    outputs = [one for _, one in found]
    assert [one["score"].shape for one in outputs] == [(3, 1), (3, 13), (3, 4)]
    for run, (group, position) in enumerate([(0, 0), (0, 1), (1, 0)]):
        state = jax.tree.map(lambda x, p=position: x[p], jax.device_get(states[group]))
        for clip, log_mel in enumerate(clips):
            windows = np.stack([log_mel[i : i + 32] for i in range(0, len(log_mel) - 31, 3)])
            expected = jax.jit(method.outputs)(state.params, state.batch_stats, windows, None)["score"]
            np.testing.assert_allclose(outputs[clip]["score"][run], expected, rtol=1e-4, atol=1e-5)


@dataclasses.dataclass(frozen=True)
class Told(ProxyOutlier):
    """Says in `events` when its outputs are traced, and when a batch is made."""

    events: tuple[list, ...] = dataclasses.field(default=([],), compare=False)

    def outputs(self, *args):
        self.events[0].append("traced")
        return super().outputs(*args)


def test_one_program_scores_all_and_the_next_batch_is_made_before_the_last_is_waited_for(monkeypatch):
    config = proxy_outlier.get_config("quicktest")
    config.network.blocks, config.network.width, config.window, config.batch_size = (1, 1, 1), 4, 32, 8
    config.score_hop, config.num_runs = 1, 2
    recipe = read_recipe(config, complete=False)
    mesh = make_mesh(1, config.batch_size, DEVICES[:1])
    plain = make_method(recipe)
    states = [init_states(mesh, plain, make_optimizer(recipe))(0, np.zeros(1, np.int32))] * 2
    events = []
    method = Told(**vars(plain), events=(events,))
    get = jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda x: (events.append("waited"), get(x))[1])

    def clips():  # of one batch each, and the last of a part of one
        for frames in (39, 39, 39, 33):
            events.append("read")
            yield StoredClip(("fan", "00"), "clip", -1, "source", ""), np.zeros((frames, 128), np.float16)

    outputs = list(Trained(recipe, method, [("fan", "00")], mesh, states).outputs(clips()))
    assert [one["score"].shape for _, one in outputs] == [(2, 8), (2, 8), (2, 8), (2, 2)]
    assert events.count("traced") == 1
    events.remove("traced")
    assert events == ["read", "read", "waited", "read", "waited", "read", "waited", "waited"]

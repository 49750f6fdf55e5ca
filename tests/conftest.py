"""A tiny recipe with its data, and what all tests share."""

from tests.devices import all_devices  # before JAX starts

# isort: split
import faulthandler
import os

import pytest

from configs import proxy_outlier


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    from tests.recordings import prepare_machines, write_machines  # imports TensorFlow, which most tests do without

    folder = tmp_path_factory.mktemp("machines")
    return prepare_machines(write_machines(folder / "raw", train_clips=11, test_clips=6), folder / "data")


def compiled_programs(tmp_path_factory):
    """A folder for them that all processes of this test run share."""
    folder = tmp_path_factory.getbasetemp()
    return str((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "compiled")


def tiny_recipe(data_dir, tmp_path_factory):
    """Three steps an epoch, six epochs, tiny network."""
    config = proxy_outlier.get_config("quicktest")
    config.data_dir, config.machine_type, config.machine_id = str(data_dir), "drill", "00"
    config.network.blocks, config.network.width, config.window = (1, 1, 1), 4, 32
    config.batch_size, config.num_epochs, config.held_back, config.checkpoint_epochs = 8, 6, 0, 2
    config.compilation_cache = compiled_programs(tmp_path_factory)
    return config


@pytest.fixture
def config(data_dir, tmp_path_factory):
    """The tiny recipe on two machines of tones in noise."""
    return tiny_recipe(data_dir, tmp_path_factory)


@pytest.fixture
def four_devices():
    """Where no devices are named, all four are taken."""
    with all_devices():
        yield


@pytest.fixture
def ends():
    """A test that hangs is ended after ten minutes, having told where."""
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


LONGEST = (
    "test_paper2.py",
    "test_commands.py",
    "test_kill_at_random.py",
    "test_hosts.py",
    "test_detection.py",
    "test_efficientnet.py",
    "test_train.py",
    "test_layers.py",
    "test_benchmark.py",
    "test_study_paper1.py",
    "test_study_paper2.py",
    "test_evaluation.py",
    "test_export.py",
)


def pytest_collection_modifyitems(items):
    """The longest files first: two processes that share the files then end at about the same time."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))

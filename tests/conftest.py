"""A tiny recipe with its data, and what all tests share."""

from tests.fake_devices import all_devices  # before JAX starts

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
    "tests/test_paper2.py",
    "tests/test_commands.py",
    "tests/test_kill_at_random.py",
    "methods/test_contract_training.py",
    "devices/test_hosts.py",
    "scoring/test_journey.py",
    "models/test_efficientnet.py",
    "training/test_run.py",
    "models/test_layers.py",
    "benchmark/test_modes.py",
    "studies/test_paper1_trained.py",
    "tests/test_contract_new.py",
    "studies/test_paper2.py",
    "evaluation/test_evaluate.py",
    "export/test_folder.py",
)


def pytest_collection_modifyitems(items):
    """The longest files first: two processes that share the files then end at about the same time."""
    names = {item: "/".join(item.path.parts[-2:]) for item in items}
    items.sort(key=lambda item: LONGEST.index(names[item]) if names[item] in LONGEST else len(LONGEST))

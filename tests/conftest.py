"""Four fake devices for all tests, which must be asked for before JAX starts; and a tiny recipe with its data."""

import faulthandler
import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import pytest  # noqa: E402

from configs import proxy_outlier  # noqa: E402

# Several fake devices under asynchronous dispatch can wait for each other until they time out.
jax.config.update("jax_cpu_enable_async_dispatch", False)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    from tests.recordings import prepare_machines, write_machines  # imports TensorFlow, which most tests do without

    folder = tmp_path_factory.mktemp("machines")
    return prepare_machines(write_machines(folder / "raw", train_clips=11, test_clips=6), folder / "data")


def tiny_recipe(data_dir, tmp_path_factory):
    """Three steps an epoch, six epochs, tiny network."""
    config = proxy_outlier.get_config("quicktest")
    config.data_dir, config.machine_type, config.machine_id = str(data_dir), "drill", "00"
    config.blocks, config.width, config.window = (1, 1, 1), 4, 32
    config.batch_size, config.num_epochs, config.held_back, config.checkpoint_epochs = 8, 6, 0, 2
    config.compilation_cache = str(tmp_path_factory.getbasetemp() / "compiled")
    return config


@pytest.fixture
def config(data_dir, tmp_path_factory):
    """The tiny recipe on two machines of tones in noise."""
    return tiny_recipe(data_dir, tmp_path_factory)


@pytest.fixture
def ends():
    """A test that hangs is ended after ten minutes, having told where."""
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()

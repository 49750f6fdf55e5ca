"""Four fake devices, which must be asked for before JAX starts. A test that splits something over them takes `DEVICES`.

Where no devices are named, one is taken: on few cores several fake ones wait for each other most of the time.
"""

import contextlib
import os
from collections.abc import Iterator

# The compiler's first level of optimisation: most of what tests do is compiling.
_FLAGS = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=1"
os.environ["XLA_FLAGS"] = f"{_FLAGS} --xla_force_host_platform_device_count=4"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402

# Several fake devices under asynchronous dispatch can wait for each other until they time out.
jax.config.update("jax_cpu_enable_async_dispatch", False)

DEVICES = jax.devices()
jax.devices = jax.local_devices = lambda *_: DEVICES[:1]
os.environ["XLA_FLAGS"] = _FLAGS  # of the processes that tests start: they have one device


@contextlib.contextmanager
def all_devices() -> Iterator[None]:
    """Within, all four are taken where no devices are named."""
    one = jax.devices
    jax.devices = jax.local_devices = lambda *_: DEVICES
    yield
    jax.devices = jax.local_devices = one

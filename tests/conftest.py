"""Four fake devices for all tests; they must be asked for before JAX starts."""

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402

# Several fake devices under asynchronous dispatch can wait for each other until they time out.
jax.config.update("jax_cpu_enable_async_dispatch", False)

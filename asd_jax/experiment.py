"""From a config to the things it names: the method and the optimiser; and the workdir that keeps the config."""

import difflib
import json
import os

import jax
import jax.numpy as jnp
import ml_collections
import optax

from asd_jax.errors import UserError
from asd_jax.features import PRESETS
from asd_jax.files import write_atomically
from asd_jax.methods.proxy_outlier import ProxyOutlier
from asd_jax.models.resnet import ResNet
from asd_jax.parallel import DATA

_CONFIG, _SUMMARY = "config.json", "training.json"
_MAY_CHANGE = ("compilation_cache",)
"""Keys that have no say in what is trained."""


def check(config: ml_collections.ConfigDict) -> None:
    """Raises a UserError that names the key for a value no training can use."""
    for key in ("data_dir", "machine_type", "machine_id"):
        if not config[key]:
            raise UserError(f"config.{key} is empty: give it on the command line, --config.{key}=...")
    for key in (
        "num_runs",
        "batch_size",
        "num_epochs",
        "window",
        "score_hop",
        "checkpoint_epochs",
        "width",
    ):
        if not config[key] > 0:
            raise UserError(f"config.{key}={config[key]} was given: expected a number above 0.")
    if config.batch_size % 2:
        raise UserError(
            f"config.batch_size={config.batch_size} was given: expected an even number, half normal, half outliers."
        )
    if config.num_outliers is not None and config.num_outliers <= 0:
        raise UserError(
            f"config.num_outliers={config.num_outliers} was given: expected a number above 0, or None for all."
        )
    if config.held_back < 0 or config.held_back == 1:
        raise UserError(
            f"config.held_back={config.held_back} was given: expected 0, or at least 2 clips for a threshold."
        )
    if not 0 <= config.seed < 2**31:
        raise UserError(f"config.seed={config.seed} was given: expected a number from 0 to {2**31 - 1}.")
    if len(config.blocks) != 3 or min(config.blocks) < 1:
        raise UserError(f"config.blocks={tuple(config.blocks)} was given: expected three numbers above 0, one a stage.")
    for key in ("learning_rate", "learning_rate_decay", "beta2"):
        if not 0 < config[key] <= 1:
            raise UserError(f"config.{key}={config[key]} was given: expected a number above 0 and not above 1.")
    _among("method", config.method, ("proxy_outlier",))
    _among("features", config.features, PRESETS)
    _among("precision", config.precision, ("float32", "bfloat16"))


def _among(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, 1) or list(allowed)
        raise UserError(
            f"config.{key}={value!r} was given: expected one of {', '.join(allowed)}; did you mean {near[0]!r}?"
        )


def make_method(config: ml_collections.ConfigDict) -> ProxyOutlier:
    """The system that the config describes."""
    network = ResNet(
        blocks=tuple(config.blocks),
        width=config.width,
        dtype=jnp.dtype(config.precision),
        axis_name=DATA,
        fixup=config.fixup,
    )
    try:
        method = ProxyOutlier(network, config.window, PRESETS[config.features].n_mels)
        jax.eval_shape(method.init, jax.random.key(0))
    except ValueError as error:
        raise UserError(f"config.window={config.window} with config.blocks={tuple(config.blocks)}: {error}") from error
    return method


def make_optimizer(
    config: ml_collections.ConfigDict, steps_per_epoch: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Adam with a rate that falls by a factor every epoch (paper 1, section 4)."""
    schedule = optax.exponential_decay(
        config.learning_rate, steps_per_epoch, config.learning_rate_decay, staircase=True
    )
    return optax.adam(schedule, b1=0.9, b2=config.beta2), schedule


def enable_compilation_cache(config: ml_collections.ConfigDict) -> None:
    """Compiled programs are kept on disk, so that the next start of the same shapes takes seconds."""
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser(config.compilation_cache))


def store_config(config: ml_collections.ConfigDict, workdir: str) -> None:
    """Keeps the config in the workdir; a workdir begun with another config is refused, naming the key that differs."""
    path = os.path.join(workdir, _CONFIG)
    new = json.loads(config.to_json_best_effort())
    if os.path.exists(path):
        old = _read(path)
        for key in sorted((old.keys() | new.keys()) - set(_MAY_CHANGE)):
            if old.get(key) != new.get(key):
                raise UserError(
                    f"config.{key} is {new.get(key)!r}, but {workdir} was begun with {old.get(key)!r}: "
                    "use that value, or another workdir."
                )
        return
    write_atomically(path, json.dumps(new, indent=2) + "\n")


def load_config(workdir: str) -> ml_collections.ConfigDict:
    """The config that a workdir was trained with."""
    path = os.path.join(workdir, _CONFIG)
    if not os.path.exists(path):
        raise UserError(f"{workdir} is not a workdir of tools/train.py: it holds no {_CONFIG}.")
    config = ml_collections.ConfigDict(_read(path))
    if "method" not in config:
        raise UserError(f"{path} is not a config that tools/train.py wrote: it has no key 'method'.")
    return config


def store_summary(summary: dict, workdir: str) -> None:
    """Keeps what is trained on what; a workdir begun on other data is refused, naming what differs."""
    path = os.path.join(workdir, _SUMMARY)
    if os.path.exists(path):
        old = _read(path)
        for key, value in summary.items():
            if old.get(key) != value:
                raise UserError(
                    f"The prepared data are not those that {workdir} was begun with ({key} was {old.get(key)!r} and is "
                    f"{value!r}): train into another workdir."
                )
    write_atomically(path, json.dumps(summary, indent=2) + "\n")


def load_summary(workdir: str) -> dict:
    """What `store_summary` kept."""
    path = os.path.join(workdir, _SUMMARY)
    if not os.path.exists(path):
        raise UserError(f"The training in {workdir} has not begun: run tools/train.py with the same config.")
    return _read(path)


def _read(path: str) -> dict:
    try:
        with open(path) as file:
            return json.load(file)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}): expected the JSON that tools/train.py wrote.") from error

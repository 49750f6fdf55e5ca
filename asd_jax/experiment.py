"""From a config to the things it names: the method and the optimiser; and the workdir that keeps the config."""

import dataclasses
import difflib
import importlib.metadata
import json
import math
import os
import unicodedata
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from etils import epath

from asd_jax import hosts
from asd_jax.clips import Machine
from asd_jax.errors import UserError
from asd_jax.features import PRESETS, WaveStatistics
from asd_jax.files import write_atomically
from asd_jax.inlier import KINDS
from asd_jax.methods import Method
from asd_jax.methods.autoencoder import Autoencoder
from asd_jax.methods.ddcsad import Ddcsad
from asd_jax.methods.maf import SCORES, Maf
from asd_jax.methods.multitask import DOMAINS, SCHEDULES, Mixup, MultiTask
from asd_jax.methods.proxy_outlier import ProxyOutlier
from asd_jax.models.autoencoder import DenseAutoencoder
from asd_jax.models.efficientnet import Encoder
from asd_jax.models.maf import INPUT_ORDERS, MAF
from asd_jax.models.resnet import ResNet
from asd_jax.outliers import is_machine
from asd_jax.parallel import DATA
from asd_jax.stored_json import read_json

_CONFIG, _SUMMARY, _SURROUNDINGS = "config.json", "training.json", "surroundings.json"
_PACKAGES = ("asd_jax", "jax", "jaxlib", "flax", "optax", "tensorflow-cpu", "numpy", "librosa")
_MAY_CHANGE = ("compilation_cache", "inlier", "inlier_p", "steps_per_dispatch")
"""Keys that have no say in what is trained."""
_SUMMARY_KIND = {
    "num_steps": int,
    "machines": list[tuple[str, str]],
    "held_back": list[str],
    "wave_statistics": dict[str, WaveStatistics | None],
    "channels": dict[str, int] | None,
}
_RISE = 0.3  # share of a one-cycle schedule in which the rate rises


def resolve(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The config with every value that is None, and that has one for the machine type, taken from `by_machine_type`.

    A home folder in a path (`~`) is written out, and a path "None" is none.
    """
    config = ml_collections.ConfigDict(config.to_dict())
    for key in ("data_dir", "init_from", "compilation_cache"):
        if isinstance(config.get(key), str):
            config[key] = "" if config[key] == "None" else os.path.expanduser(config[key])
    for key in ("machine_type", "machine_id"):
        if isinstance(config.get(key), str):
            config[key] = unicodedata.normalize("NFC", config[key])
    if "by_machine_type" not in config:
        return config
    table = config.by_machine_type
    if table is None or table.get("default") is None:
        raise UserError(
            "config.by_machine_type was overridden: it is the recipe's own table; override its keys instead."
        )
    for key, value in table.get(config.machine_type, table.default).items():
        if config[key] is None:
            config[key] = value
    del config["by_machine_type"]
    return config


def check(config: ml_collections.ConfigDict) -> None:
    """Raises a UserError that names the key for a value no training can use."""
    for key in _ALWAYS:
        if key not in config:
            raise UserError(f"The recipe has no key {key!r}, which every training needs: take one of configs/.")
    check_values(config)
    for key in ("data_dir", *_METHODS[config.method].needs):
        if not config.get(key):
            raise UserError(f"config.{key} is empty: give it on the command line, --config.{key}=...")


def check_values(config: ml_collections.ConfigDict) -> None:
    """The same for the keys that are there, whatever others are missing."""
    for key, (types, name) in _TYPES.items():
        value = config.get(key)
        if key in config and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
            raise UserError(f"config.{key}={config[key]!r} was given: expected {name}.")
    for key in config:
        if isinstance(config[key], float) and not math.isfinite(config[key]):
            raise UserError(f"config.{key}={config[key]} was given: expected a finite number.")
    if isinstance(config.get("width"), float) and "depth" not in config:
        raise UserError(f"config.width={config.width} was given: expected a whole number of channels.")
    _among("method", config.method, _METHODS)
    for key, largest in _LARGEST.items():
        if key in config and not 0 < config[key] <= largest:
            raise UserError(
                f"config.{key}={config[key]} was given: expected a number above 0 and not above {largest:,}."
            )
    if "outlier_set" in config and config.get("batch_size", 0) % 2:
        raise UserError(
            f"config.batch_size={config.batch_size} was given: expected an even number, half of the target, half "
            "outliers."
        )
    if config.get("num_outliers") is not None and config.num_outliers <= 0:
        raise UserError(
            f"config.num_outliers={config.num_outliers} was given: expected a number above 0, or None for all."
        )
    if "held_back" in config and (config.held_back < 0 or config.held_back == 1):
        raise UserError(
            f"config.held_back={config.held_back} was given: expected 0, or at least 2 clips for a threshold."
        )
    if not 0 <= config.get("seed", 0) < 2**31:
        raise UserError(f"config.seed={config.seed} was given: expected a number from 0 to {2**31 - 1}.")
    if "blocks" in config and (len(config.blocks) != 3 or not _all_whole(config.blocks, 50)):
        raise UserError(
            f"config.blocks={tuple(config.blocks)} was given: expected three numbers from 1 to 50, one a stage."
        )
    if "widths" in config and not _all_whole(config.widths, 2**16):
        raise UserError(f"config.widths={tuple(config.widths)} was given: expected numbers from 1 to {2**16}.")
    for key in ("learning_rate", "learning_rate_decay", "beta2", "validation_share"):
        if key in config and not 0 < config[key] <= 1:
            raise UserError(f"config.{key}={config[key]} was given: expected a number above 0 and not above 1.")
    for key in ("mixup_alpha", "machine_weight", "product_weight", "weight_decay", "metric_weight"):
        if key in config and config[key] < 0:
            raise UserError(f"config.{key}={config[key]} was given: expected 0 or a number above it.")
    for key in ("dropout", "drop_path", "batch_norm_momentum"):
        if key in config and not 0 <= config[key] < 1:
            raise UserError(f"config.{key}={config[key]} was given: expected 0 or a number above it and below 1.")
    for key, allowed in _CHOICES.items():
        if key in config:
            _among(key, config[key], allowed)
    for domain in config.get("domains") or ():
        _among("domains", domain, ("source", "target"))


def _all_whole(values: Sequence[Any], largest: int) -> bool:
    return all(isinstance(value, int) and 1 <= value <= largest for value in values)


def _among(key: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, 1) or list(allowed)
        raise UserError(
            f"config.{key}={value!r} was given: expected one of {', '.join(allowed)}; did you mean {near[0]!r}?"
        )


def make_method(config: ml_collections.ConfigDict, products: int = 1) -> Method:
    """The system that the config describes, for so many target machines.

    Raises:
        UserError: a key of the system is missing, or the window does not fit the network.
    """
    try:
        method = _METHODS[config.method].make(config, products)
    except AttributeError as error:
        [missing] = error.args  # of ml_collections: a KeyError, which guesses in a second line what was meant
        key = missing.args[0].splitlines()[0]
        method = config.method
        raise UserError(
            f"The recipe has no key {key}, which config.method={method!r} needs: take configs/{method}.py."
        ) from error
    try:
        jax.eval_shape(method.init, jax.random.key(0))
    except ValueError as error:
        raise UserError(f"config.window={config.window} does not fit the network: {error}") from error
    return method


def _proxy_outlier(config: ml_collections.ConfigDict, products: int) -> ProxyOutlier:
    del products
    network = ResNet(
        blocks=tuple(config.blocks),
        width=config.width,
        dtype=jnp.dtype(config.precision),
        axis_name=DATA,
        fixup=config.fixup,
    )
    return ProxyOutlier(network, config.window, PRESETS[config.features].n_mels, config.score_hop)


def _autoencoder(config: ml_collections.ConfigDict, products: int) -> Autoencoder:
    del products
    n_mels = PRESETS[config.features].n_mels
    network = DenseAutoencoder(
        tuple(config.widths),
        config.kernel_gain,
        config.bias,
        config.batch_norm_momentum,
        config.batch_norm_epsilon,
        axis_name=DATA,
        dtype=jnp.dtype(config.precision),
    )
    return Autoencoder(network, config.window, n_mels, config.hop)


def _maf(config: ml_collections.ConfigDict, products: int) -> Maf:
    network = MAF(
        products,
        blocks=config.flow_blocks,
        hidden=config.width,
        hidden_layers=config.hidden_layers,
        input_order=config.input_order,
        axis_name=DATA,
        dtype=jnp.dtype(config.precision),
    )
    return Maf(network, config.window, PRESETS[config.features].n_mels, config.hop, config.score)


def _multitask(config: ml_collections.ConfigDict, products: int) -> MultiTask:
    return MultiTask(
        _encoder(config, products),
        config.window,
        PRESETS[config.features].n_mels,
        Mixup(config.mixup_alpha, config.mixup_domain, config.mixup_schedule),
        config.machine_weight,
        config.product_weight,
        config.soft_targets,
    )


def _ddcsad(config: ml_collections.ConfigDict, products: int) -> Ddcsad:
    n_mels = PRESETS[config.features].n_mels
    encoder = _encoder(config, products)
    return Ddcsad(encoder, config.window, n_mels, config.metric_weight, config.distance_weight)


def _encoder(config: ml_collections.ConfigDict, products: int) -> Encoder:
    return Encoder(
        products,
        width=config.width,
        depth=config.depth,
        dropout=config.dropout,
        drop_path=config.drop_path,
        dtype=jnp.dtype(config.precision),
        axis_name=DATA,
        remat=config.remat,
    )


class _Method(NamedTuple):
    """How a method is made of a config and a number of target machines, and which keys it cannot do without."""

    make: Callable[[ml_collections.ConfigDict, int], Method]
    needs: tuple[str, ...] = ()


_METHODS = {
    "proxy_outlier": _Method(_proxy_outlier, needs=("machine_type", "machine_id")),
    "autoencoder": _Method(_autoencoder, needs=("machine_type",)),
    "maf": _Method(_maf),
    "multitask": _Method(_multitask, needs=("machine_type",)),
    "ddcsad": _Method(_ddcsad, needs=("machine_type", "machine_id")),
}
_ALWAYS = ("method", "seed", "num_runs", "data_dir", "features", "window", "batch_size", "num_epochs", "learning_rate")
_LARGEST = {  # of numbers above 0: beyond, building the network would take for ever or all memory
    "num_runs": 1000,
    "batch_size": 2**20,
    "num_epochs": 10**6,
    "window": 10**4,
    "score_hop": 10**6,
    "checkpoint_epochs": 10**6,
    "width": 2**14,
    "depth": 10,
    "validation_epochs": 10**6,
    "hop": 10**6,
    "flow_blocks": 50,
    "hidden_layers": 50,
    "batch_norm_epsilon": 1,
    "kernel_gain": 1000,
    "steps_per_dispatch": 10**4,
    "inlier_p": 10**4,
}
_TYPES = {  # of values that did not come by the flags, which keep to the recipe's types
    key: (types, name)
    for types, name, keys in (
        (
            (str,),
            "a text",
            "method data_dir features machine_type machine_id outlier_set outlier_crop precision init_from inlier "
            "mixup_domain mixup_schedule compilation_cache input_order score",
        ),
        (
            (int,),
            "a whole number",
            "seed num_runs batch_size num_epochs window score_hop held_back checkpoint_epochs validation_epochs hop "
            "flow_blocks hidden_layers steps_per_dispatch inlier_p",
        ),
        (
            (int, float),
            "a number",
            "width depth learning_rate learning_rate_decay beta2 validation_share mixup_alpha machine_weight "
            "product_weight weight_decay metric_weight distance_weight batch_norm_epsilon batch_norm_momentum "
            "kernel_gain bias dropout drop_path",
        ),
        ((int, type(None)), "a whole number or None", "num_outliers"),
        ((bool,), "True or False", "fixup remat soft_targets standardise_bands"),
        ((tuple, list), "a list", "blocks widths domains"),
    )
    for key in keys.split()
}
_CHOICES = {
    "features": PRESETS,
    "precision": ("float32", "bfloat16"),
    "mixup_domain": DOMAINS,
    "mixup_schedule": SCHEDULES,
    "inlier": (*KINDS, "none"),
    "score": SCORES,
    "input_order": INPUT_ORDERS,
    "outlier_crop": ("random", "last"),
}


def target_machines(config: ml_collections.ConfigDict, there: Collection[Machine]) -> list[Machine]:
    """The target machines, sorted: those that the config names, or all that are there of its type, or of any type.

    Raises:
        UserError: there is no machine of the type.
    """
    if config.machine_id:
        return [(config.machine_type, machine_id) for machine_id in sorted(set(config.machine_id.split(",")))]
    machines = sorted(m for m in there if config.machine_type in ("", m[0]) and is_machine(m))
    if not machines:
        types = sorted({machine[0] for machine in there if is_machine(machine)})
        near = difflib.get_close_matches(config.machine_type, types, 1)
        raise UserError(
            f"No training clips of config.machine_type={config.machine_type!r} in {config.data_dir}: "
            f"{', '.join(types) or 'none'} are there{f'; did you mean {near[0]!r}?' if near else '.'}"
        )
    return machines


def is_validated(config: ml_collections.ConfigDict) -> bool:
    """Whether a part of the data chooses which epoch's weights are kept."""
    return "validation_share" in config


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Adam whose rate and first momentum are data, given with every step; without decay of the weights it is Adam."""

    b2: float
    weight_decay: float

    def __call__(self, values: dict[str, jax.Array]) -> optax.GradientTransformation:
        """The optimiser at the values of one step."""
        if not self.weight_decay:  # optax would read all parameters for a decay of 0
            return optax.adam(values["learning_rate"], b1=values["b1"], b2=self.b2)
        return optax.adamw(values["learning_rate"], b1=values["b1"], b2=self.b2, weight_decay=self.weight_decay)


def make_optimizer(config: ml_collections.ConfigDict) -> AdamW:
    """The optimiser of the config."""
    return AdamW(config.get("beta2", 0.999), config.get("weight_decay", 0.0))


def step_values(config: ml_collections.ConfigDict, epoch_steps: int) -> dict[str, np.ndarray]:
    """What changes from step to step [num_steps]: "progress" from 0 to 1, "learning_rate", first momentum "b1".

    Paper 1: a rate that falls by a factor every epoch (section 4). Paper 2: the one-cycle schedule, whose first
    momentum is low while the rate is high (PyTorch's values).
    """
    steps = epoch_steps * config.num_epochs
    number = np.arange(steps)
    if "learning_rate_decay" in config:
        rate = config.learning_rate * config.learning_rate_decay ** (number // epoch_steps)
        momentum = np.full(steps, 0.9)
    else:
        rises = int(_RISE * steps)
        schedule = optax.cosine_onecycle_schedule(
            steps, config.learning_rate, _RISE, div_factor=25, final_div_factor=1e4
        )
        falling = optax.piecewise_interpolate_schedule("cosine", 0.95, {rises: 0.85 / 0.95, steps: 0.95 / 0.85})
        rate, momentum = (np.asarray(jax.vmap(one)(number)) for one in (schedule, falling))
    values = {"progress": number / steps, "learning_rate": rate, "b1": momentum}
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


COMPILATION_CACHE = "~/.cache/asd_jax"


def enable_compilation_cache(folder: str) -> None:
    """Compiled programs are kept on disk, so that the next start of the same shapes takes seconds.

    They are machine code that is run when it is found: the folder is the user's own, never what a workdir names.
    """
    if folder:
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser(folder))


def store_config(config: ml_collections.ConfigDict, workdir: str) -> None:
    """Keeps the config in the workdir; a workdir begun with another config is refused, naming the key that differs."""
    path = epath.Path(workdir) / _CONFIG
    new = json.loads(config.to_json_best_effort())
    if path.exists():
        old = _read(path)
        for key in sorted((old.keys() | new.keys()) - set(_MAY_CHANGE)):
            if old.get(key) != new.get(key):
                raise UserError(
                    f"config.{key} is {new.get(key)!r}, but {workdir} was begun with {old.get(key)!r}: "
                    "use that value, or another workdir."
                )
    if hosts.is_first():
        write_atomically(path, json.dumps(new, indent=2) + "\n")


def load_config(workdir: str) -> ml_collections.ConfigDict:
    """The config that a workdir was trained with."""
    path = epath.Path(workdir) / _CONFIG
    if not path.exists():
        raise UserError(f"{workdir} is not a workdir of tools/train.py: it holds no {_CONFIG}.")
    try:
        config = ml_collections.ConfigDict(_read(path))
    except ValueError as error:  # keys with dots
        raise UserError(f"{path} is not a config that tools/train.py wrote ({error}).") from error
    if "method" not in config:
        raise UserError(f"{path} is not a config that tools/train.py wrote: it has no key 'method'.")
    check_values(config)
    return config


def store_summary(summary: dict, workdir: str) -> None:
    """Keeps what is trained on what; a workdir begun on other data is refused, naming what differs."""
    path = epath.Path(workdir) / _SUMMARY
    if path.exists():
        old = _read(path)
        for key, value in summary.items():
            if old.get(key) != value:
                raise UserError(
                    f"The prepared data are not those that {workdir} was begun with ({key} was {old.get(key)!r} and is "
                    f"{value!r}): train into another workdir."
                )
    if hosts.is_first():
        write_atomically(path, json.dumps(summary, indent=2) + "\n")


def surroundings() -> dict:
    """What a program runs on: versions and devices."""
    device = jax.devices()[0]
    return {
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "platform": device.platform,
        "device_kind": device.device_kind,
        "devices": jax.device_count(),
        "host_cores": len(os.sched_getaffinity(0)),
    }


def store_surroundings(workdir: str) -> None:
    """Keeps what a training runs on; where it is gone on with elsewhere, the newest."""
    if hosts.is_first():
        write_atomically(epath.Path(workdir) / _SURROUNDINGS, json.dumps(surroundings(), indent=2) + "\n")


def load_surroundings(workdir: str) -> dict:
    """What `store_surroundings` kept; empty for a workdir that was trained before it did."""
    path = epath.Path(workdir) / _SURROUNDINGS
    return _read(path) if path.exists() else {}


def load_summary(workdir: str) -> dict:
    """What `store_summary` kept."""
    path = epath.Path(workdir) / _SUMMARY
    if not path.exists():
        raise UserError(f"The training in {workdir} has not begun: run tools/train.py with the same config.")
    summary = _read(path, _SUMMARY_KIND)
    statistics = summary["wave_statistics"].items()
    return summary | {"wave_statistics": {name: one and dataclasses.asdict(one) for name, one in statistics}}


def _read(path: epath.Path, kind: Any = dict) -> dict:
    return read_json(path, kind, "expected the JSON that tools/train.py wrote")

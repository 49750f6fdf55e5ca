"""Published EfficientNet weights, as timm names and lays them out (`tf_efficientnet_b0` and its kin), for `Encoder`."""

import os

import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from asd_jax.base.errors import UserError

_OUTER_LAYERS = {"stem": "conv_stem", "stem_norm": "bn1", "head": "conv_head", "head_norm": "bn2"}
_BLOCK_LAYERS = {
    "expand": "conv_pw",
    "expand_norm": "bn1",
    "depthwise": "conv_dw",
    "depthwise_norm": "bn2",
    "squeeze": "se.conv_reduce",
    "excite": "se.conv_expand",
    "project": "conv_pwl",
    "project_norm": "bn3",
}
_FIRST_BLOCK_LAYERS = _BLOCK_LAYERS | {"depthwise_norm": "bn1", "project": "conv_pw", "project_norm": "bn2"}
"""The first stage's blocks expand nothing, and so count their layers differently."""
_ARRAYS = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_MANY_BATCHES = np.float32(1e6)
"""That the published running statistics are of."""
_NOT_TAKEN = ("classifier.", ".num_batches_tracked")
"""Parts of the names of tensors beyond the backbone."""


def load_backbone(path: str | os.PathLike, params: dict, batch_stats: dict) -> tuple[dict, dict]:
    """Puts published weights into the backbone of an `Encoder`; its other layers stay as they are.

    The first convolution is summed over its input channels: the same as an image repeated for each of them.

    Args:
        path: a safetensors file on this machine; its classifier is not used.
        params: the encoder's parameters; of the backbone only the shapes are read.
        batch_stats: its running statistics, likewise.

    Returns:
        (params, batch_stats), like those given.

    Raises:
        UserError: there is no such file, it is no safetensors file, or it holds another network.
    """
    tensors = _read(path)
    arrays = flatten_dict({"params": params["backbone"], "batch_stats": batch_stats["backbone"]})
    names = {place: _timm_name(*place[1:]) for place in arrays if place[-1] != "batches"}
    taken = {place: _take(path, tensors, name, arrays[place].shape) for place, name in names.items()}
    loaded = unflatten_dict({**dict.fromkeys(arrays, _MANY_BATCHES), **taken})
    surplus = sorted(set(tensors) - set(names.values()))
    for name in surplus:
        if not any(part in name for part in _NOT_TAKEN):
            raise UserError(f"{path} holds the tensor {name}, which this network does not have: {_EXPECTED}.")
    return {**params, "backbone": loaded["params"]}, {**batch_stats, "backbone": loaded["batch_stats"]}


_EXPECTED = "give it the weights of timm's tf_efficientnet_b0 or one of its variants"


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except OSError as error:
        raise UserError(f"The weights {path} cannot be read ({error.strerror or error}): {_EXPECTED}.") from error
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file ({error}): {_EXPECTED}.") from error


def _timm_name(layer: str, *rest: str) -> str:
    """("block_2_1", "squeeze", "kernel") -> "blocks.2.1.se.conv_reduce.weight"."""
    if layer in _OUTER_LAYERS:
        return f"{_OUTER_LAYERS[layer]}.{_ARRAYS[rest[0]]}"
    _, stage, block = layer.split("_")
    layers = _FIRST_BLOCK_LAYERS if stage == "0" else _BLOCK_LAYERS
    return f"blocks.{stage}.{block}.{layers[rest[0]]}.{_ARRAYS[rest[1]]}"


def _take(path: str | os.PathLike, tensors: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor in our layout: kernels [out, in, k, k] -> [k, k, in, out], or [in, out] where they are dense."""
    if name not in tensors:
        raise UserError(f"{path} does not hold the tensor {name}: {_EXPECTED}.")
    array = tensors[name].astype(np.float32)
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
        if name == "conv_stem.weight":
            array = array.sum(2, keepdims=True)
        if len(shape) == 2 and array.shape[:2] == (1, 1):
            array = array[0, 0]
    if array.shape != shape:
        raise UserError(
            f"The tensor {name} of {path} has the shape {tensors[name].shape}, "
            f"which does not fit the network's {shape}: {_EXPECTED}."
        )
    return array

"""An exported program as a LiteRT (TensorFlow Lite) file: for one clip at a time, its weights within."""

import jax
import numpy as np
import tensorflow as tf
from jax.experimental import jax2tf

from asd_jax.base.errors import UserError
from asd_jax.export.program import Program, Weights


def convert(program: Program, weights: Weights, method: str) -> bytes:
    """A file that maps a waveform [1, samples] to "score" [1] and "window_score" [1, windows].

    It has LiteRT's own operations alone.

    Raises:
        UserError: the converter cannot express the program; the sentence names the `method`.
    """

    def scores(waves: jax.Array) -> dict[str, jax.Array]:
        return program(weights, waves)

    converted = jax2tf.convert(scores, with_gradient=False, native_serialization_platforms=("cpu",))
    waves = tf.TensorSpec((1, program.samples), tf.float32, "waves")
    function = tf.function(converted, autograph=False, input_signature=[waves])
    try:  # with a module of its own, the file keeps the names of inputs and outputs
        return tf.lite.TFLiteConverter.from_concrete_functions(
            [function.get_concrete_function()], tf.Module()
        ).convert()
    except Exception as error:  # what it raises is no part of TensorFlow's interface
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"LiteRT cannot express {method}: leave out --litert; nothing was written. TensorFlow's converter: {reason}"
        ) from error


def scores(content: bytes, waves: np.ndarray) -> dict[str, np.ndarray]:
    """What such a file gives waveforms [clips, samples]: "score" [clips] and "window_score" [clips, windows]."""
    run = tf.lite.Interpreter(model_content=content).get_signature_runner()
    by_clip = [run(waves=wave[None]) for wave in waves]
    return {name: np.concatenate([found[name] for found in by_clip]) for name in by_clip[0]}

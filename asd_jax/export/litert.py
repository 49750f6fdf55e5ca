"""An exported program as a LiteRT (TensorFlow Lite) file: for one clip at a time, its weights within."""

import jax
import numpy as np
import tensorflow as tf
from jax.experimental import jax2tf

from asd_jax.export.program import Program, Weights


def convert(program: Program, weights: Weights) -> bytes:
    """A file that maps a waveform [1, samples] to its score [1], with LiteRT's own operations alone."""

    def score(waves: jax.Array) -> jax.Array:
        return program(weights, waves)["score"]

    converted = jax2tf.convert(score, with_gradient=False, native_serialization_platforms=("cpu",))
    waves = tf.TensorSpec((1, program.samples), tf.float32, "waves")
    function = tf.function(converted, autograph=False, input_signature=[waves])
    return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function).convert()


def scores(content: bytes, waves: np.ndarray) -> np.ndarray:
    """The scores [clips] that such a file gives waveforms [clips, samples]."""
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    [given], [found] = interpreter.get_input_details(), interpreter.get_output_details()
    result = []
    for wave in waves:
        interpreter.set_tensor(given["index"], wave[None])
        interpreter.invoke()
        result.append(interpreter.get_tensor(found["index"])[0])
    return np.array(result)

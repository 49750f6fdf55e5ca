"""One recording -> one waveform, or one sentence that says what is wrong with it."""

import os
import re

import numpy as np
import soundfile
import soxr

from asd_jax.errors import UserError, is_one_line

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
"""Of the files that count as recordings."""

_UNKNOWN_SIZE = 0xFFFFFFFF  # what a recorder writes that streams and never learns the length
_LOWEST_RATE, _HIGHEST_RATE = 1000, 1_000_000  # Hz; beyond, a header is damaged and resampling takes all memory
_LARGEST = 1e10  # of a sample; the power of larger ones overflows
_SHORTER = re.compile(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)


def open_audio(path: str) -> soundfile.SoundFile:
    """Opens a recording.

    Raises:
        UserError: there is no such file, it is not audio, or its sample rate or name is none that can be.
    """
    if not is_one_line(path):
        raise UserError(f"The name {path} holds bytes that are no text, or control characters: rename it.")
    if not os.path.isfile(path):
        raise UserError(f"{path} is no audio file: replace it or leave it out.")
    try:
        file = soundfile.SoundFile(path)
    except soundfile.SoundFileError as error:
        raise UserError(f"{path} is no audio ({_reason(error)}): replace it or leave it out.") from error
    if not _LOWEST_RATE <= file.samplerate <= _HIGHEST_RATE:
        file.close()
        raise UserError(
            f"{path} is of {file.samplerate} Hz, as its header says: expected {_LOWEST_RATE} to {_HIGHEST_RATE}; "
            "replace it or leave it out."
        )
    return file


def read_audio(path: str, sample_rate: int) -> np.ndarray:
    """Reads a recording of any format, rate and channel count that libsndfile knows.

    Args:
        path: the audio file.
        sample_rate: in Hz; other rates are resampled (soxr, high quality).

    Returns:
        The waveform, the mean over the channels: float32 [samples], full scale 1.

    Raises:
        UserError: what `open_audio` raises; the file is damaged, has no samples, is silent (all samples are equal), or
            holds values that are not finite or too large.
    """
    with open_audio(path) as file:
        rate, promised = file.samplerate, file.frames
        try:
            log = file.extra_info  # libsndfile corrects the header of a truncated WAV or AIFF and says so only here
            # libsndfile makes floats of samples one by one, and takes several times longer than reading them
            wave = file.read(dtype="int16" if file.subtype == "PCM_16" else "float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise UserError(
                f"{path} is truncated or damaged ({_reason(error)}): replace it or leave it out."
            ) from error
        except (MemoryError, ValueError) as error:  # of NumPy
            raise UserError(
                f"{path} does not fit into memory: its header promises {promised} samples of {file.channels} "
                "channel(s); replace it or leave it out."
            ) from error
    shorter = _SHORTER.search(log)
    cut = shorter and int(shorter[2]) < int(shorter[1]) != _UNKNOWN_SIZE
    if cut or len(wave) < promised:
        found, size, unit = (shorter[2], shorter[1], "bytes") if cut else (len(wave), promised, "samples")
        raise UserError(
            f"{path} is truncated: its header promises {size} {unit} of sound, it holds {found}; "
            "copy it again or leave it out."
        )
    if not len(wave):
        raise UserError(f"{path} holds no samples: replace it or leave it out.")
    full_scale = 2**15 if wave.dtype == np.int16 else 1
    wave = wave.mean(1, dtype=np.float32) if wave.shape[1] > 1 else wave[:, 0]
    lowest, highest = wave.min(), wave.max()
    if not np.isfinite([lowest, highest]).all():  # the least of some values is NaN where one of them is
        raise UserError(f"{path} holds samples that are NaN or infinite: replace it or leave it out.")
    if max(-float(lowest), float(highest)) > _LARGEST:
        raise UserError(f"{path} holds samples beyond {_LARGEST:g}, full scale being 1: replace it or leave it out.")
    if lowest == highest:
        raise UserError(f"{path} is silent (all samples are equal): replace it or leave it out.")
    wave = np.multiply(wave, 1 / full_scale, dtype=np.float32)
    return wave if rate == sample_rate else soxr.resample(wave, rate, sample_rate)


def _reason(error: soundfile.SoundFileError) -> str:
    return str(error).split(": ", 1)[-1].rstrip(".")

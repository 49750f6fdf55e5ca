"""One recording -> one waveform, or one sentence that says what is wrong with it."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import soundfile
import soxr

from asd_jax.base.errors import UserError, is_one_line
from asd_jax.sound import unfinished

_UNKNOWN_FRAMES = 2**62  # and more libsndfile says of a FLAC that was streamed
_LOWEST_RATE, _HIGHEST_RATE = 1000, 1_000_000  # Hz; beyond, a header is damaged and resampling takes all memory
_ROUNDING = 2**-21  # of the largest sample: what differs by less is noise of float32, or of 24 bits
_CANCELLED = 0.01  # of the loudest channel: 40 dB below it, the mean is what two cables differ by
_LARGEST = 1e10  # of a sample; the power of larger ones overflows
_SHORTER = re.compile(
    r"^\s*(?:data|SSND|riff|Riff size|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)  # of WAV, AIFF, W64, RF64, AU


def open_audio(path: str) -> soundfile.SoundFile:
    """Opens a recording, to be closed by the caller.

    Raises:
        UserError: there is no such file, it is not audio, or its sample rate or name is none that can be.
    """
    if not is_one_line(path):
        raise UserError(f"The name {path} holds bytes that are no text, or control characters: rename it.")
    if not os.path.isfile(path):
        raise UserError(f"{path} is no audio file: replace it or leave it out.")
    with _reported(path, "is no audio"):
        try:
            file = soundfile.SoundFile(path)
        except soundfile.SoundFileError:
            if not (mended := unfinished.mended(path)):
                raise
            file = soundfile.SoundFile(mended)
    if not file.frames and (mended := unfinished.mended(path)):
        file.close()
        file = soundfile.SoundFile(mended)
    if file.frames >= _UNKNOWN_FRAMES:
        file.close()
        raise UserError(
            f"{path} was streamed, and its header does not say how long it is: convert it once, as by 'sox {path} "
            "NEW.flac', or leave it out."
        )
    if not _LOWEST_RATE <= file.samplerate <= _HIGHEST_RATE:
        file.close()
        raise UserError(
            f"{path} is of {file.samplerate} Hz, as its header says: expected {_LOWEST_RATE} to {_HIGHEST_RATE}; "
            "replace it or leave it out."
        )
    return file


def low_rates_warning(rates: Mapping[int, int], sample_rate: int) -> str | None:
    """One sentence about the recordings (sample rate -> number) below the features' rate; None without any."""
    low = {rate: count for rate, count in sorted(rates.items()) if rate < sample_rate}
    if not low:
        return None
    of_rates = ", ".join(f"{count} of {rate} Hz" for rate, count in low.items())
    return (
        f"{sum(low.values())} recordings are below {sample_rate} Hz ({of_rates}): nothing is heard of them above half "
        "their rate, and that alone can set them apart from others."
    )


def read_audio(
    path: str, sample_rate: int, channel: int | None = None, rates: Counter[int] | None = None
) -> np.ndarray:
    """Reads a recording of any format, rate and channel count that libsndfile knows.

    Args:
        path: the audio file.
        sample_rate: in Hz; other rates are resampled (soxr, high quality).
        channel: which to take, from 0; the mean over the channels where None.
        rates: counts the recording's own sample rate.

    Returns:
        The waveform: float32 [samples], full scale 1.

    Raises:
        UserError: what `open_audio` and `waveform` raise; the file is damaged or has no samples.
    """
    with open_audio(path) as file:
        blocks = list(read_blocks(file))
        rate = file.samplerate
    if rates is not None:
        rates[rate] += 1
    try:
        if not blocks:
            raise UserError(f"{path} holds no samples")
        return waveform(blocks[0], rate, sample_rate, path, channel)
    except UserError as error:
        raise UserError(f"{error}: replace it or leave it out.") from None


def read_blocks(file: soundfile.SoundFile, size: int = -1) -> Iterator[np.ndarray]:
    """Reads an open recording in blocks of `size` samples, or all at once.

    Yields:
        [samples, channels], int16 where the file holds that, else float32.

    Raises:
        UserError: at its end, if the file is damaged there or holds less than its header promises.
    """
    # libsndfile makes floats of samples one by one, and takes several times longer than reading them
    dtype, count = "int16" if file.subtype == "PCM_16" else "float32", 0
    while count < file.frames:
        try:
            with _reported(file.name, "is truncated or damaged"):
                block = file.read(file.frames if size < 0 else size, dtype=dtype, always_2d=True)
        except (MemoryError, ValueError) as error:  # of NumPy
            raise UserError(
                f"{file.name} does not fit into memory: its header promises {file.frames} samples of {file.channels} "
                "channel(s); replace it or leave it out."
            ) from error
        if not len(block):
            break
        count += len(block)
        yield block
    # libsndfile corrects the header of a truncated file and says so only here
    shorter = _SHORTER.search(file.extra_info)
    cut = shorter and int(shorter[2]) < int(shorter[1]) and not unfinished.is_placeholder(int(shorter[1]))
    if cut or count < file.frames:
        found, size, unit = (shorter[2], shorter[1], "bytes") if cut else (count, file.frames, "samples")
        raise UserError(
            f"{file.name} is truncated: its header promises {size} {unit} of sound, it holds {found}; "
            "copy it again or leave it out."
        )


@contextlib.contextmanager
def _reported(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except soundfile.SoundFileError as error:
        reason = str(error).split(": ", 1)[-1].rstrip(".")
        raise UserError(f"{path} {what} ({reason}): replace it or leave it out.") from error


def waveform(samples: np.ndarray, rate: int, sample_rate: int, name: str, channel: int | None = None) -> np.ndarray:
    """One channel of [samples, channels], or their mean, at another rate: float32 [samples], full scale 1.

    Raises:
        UserError: there is no such channel, the channels cancel in the mean, or the samples are all equal, not finite
            or too large; begins with `name`, without a stop.
    """
    channels = samples.shape[1]
    if channel is not None and channel >= channels:
        raise UserError(f"{name} has {channels} channel(s), and channel {channel} was asked for, counted from 0")
    mixed = channels > 1 and channel is None
    wave = samples.mean(1, dtype=np.float32) if mixed else samples[:, channel or 0]
    lowest, highest = wave.min(), wave.max()
    if not np.isfinite([lowest, highest]).all():  # the least of some values is NaN where one of them is
        raise UserError(f"{name} holds samples that are NaN or infinite")
    if max(-float(lowest), float(highest)) > _LARGEST:
        raise UserError(f"{name} holds samples beyond {_LARGEST:g}, full scale being 1")
    span = float(highest) - float(lowest)
    if mixed and span < _CANCELLED * (samples.max(0).astype(float) - samples.min(0).astype(float)).max():
        raise UserError(
            f"{name} has {channels} channels that cancel in their mean, as those of a balanced line do: take one of "
            "them by tools/prepare.py --channel=0"
        )
    if span <= _ROUNDING * max(-float(lowest), float(highest)):
        but = "" if lowest == highest else ", but for rounding"
        raise UserError(f"{name} is silent (all samples are equal{but})")
    full_scale = 2**15 if samples.dtype == np.int16 else 1
    wave = np.multiply(wave, 1 / full_scale, dtype=np.float32)
    return wave if rate == sample_rate else soxr.resample(wave, rate, sample_rate)

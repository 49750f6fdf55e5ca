"""Whatever lies in a folder of recordings: it is read, or one line says what is wrong and where; nothing hangs."""

import contextlib
import io
import os
import pathlib
import struct
import tempfile

import numpy as np
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from asd_jax.base.errors import is_one_line
from asd_jax.base.files import write_atomically
from asd_jax.datasets import DATASETS, check
from asd_jax.datasets.labels import read_label_list
from asd_jax.evaluation.score_files import write_scores
from asd_jax.sound.audio import read_audio
from asd_jax.sound.audio_files import SUFFIXES
from asd_jax.sound.features import WaveStatistics
from asd_jax.sound.presets import PRESETS
from tests.fuzzing import guarded, told

pytestmark = guarded
RATE = 16000


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield pathlib.Path(name)


def sound(format, subtype, samples=2048, channels=1):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, channels))
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format=format, subtype=subtype)
    return file.getvalue()


SOUNDS = {
    ".wav": (
        sound("WAV", "PCM_16"),
        sound("WAVEX", "PCM_24", channels=2),
        sound("WAV", "FLOAT"),
        sound("RF64", "DOUBLE"),
    ),
    ".aiff": (sound("AIFF", "PCM_16"),),
    ".flac": (sound("FLAC", "PCM_16"),),
    ".ogg": (sound("OGG", "VORBIS"),),
    ".mp3": (sound("MP3", "MPEG_LAYER_III"),),
}
EDGES = st.sampled_from([0, 1, 2, 7, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 16, 2**32 - 1])


@st.composite
def broken_sounds(draw):
    """(suffix, bytes) of a small recording with some of its header's numbers or bytes changed, or its end missing."""
    suffix = draw(st.sampled_from([".wav", ".wav", ".wav", *SOUNDS]))
    content = bytearray(draw(st.sampled_from(SOUNDS[suffix])))
    for _ in range(draw(st.integers(0, 3))):
        place, code = draw(st.integers(0, 100)), draw(st.sampled_from(["<I", "<H", ">I", "B"]))
        struct.pack_into(code, content, place, draw(EDGES) % 2 ** (8 * struct.calcsize(code)))
    for _ in range(draw(st.integers(0, 3))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return suffix, bytes(content)


def with_field(code, place, value, base=SOUNDS[".wav"][0]):
    content = bytearray(base)
    struct.pack_into(code, content, place, value)
    return ".wav", bytes(content)


FLOATS = SOUNDS[".wav"][2]
DATA = FLOATS.index(b"data") + 8


@given(broken_sounds())
@example(with_field("<I", 24, 0))  # sample rates
@example(with_field("<I", 24, 1))
@example(with_field("<I", 24, 2**31 - 1))
@example((".wav", FLOATS[:DATA] + np.resize(np.float32([3e38, -3e38, 0]), 2048).tobytes()))
@example((".wav", FLOATS[:DATA] + np.resize(np.float32([1e-30, 0]), 2048).tobytes()))
@example((".flac", SOUNDS[".flac"][0][:21] + b"\x0f\xff\xff\xff\xff" + SOUNDS[".flac"][0][26:]))  # 2**36 samples
def test_a_recording_is_read_or_told(recording):
    suffix, content = recording
    with folder() as raw:
        path = raw / "saw" / "1" / "train" / f"a{suffix}"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        wave = told(read_audio, str(path), RATE, names=[str(path)])
        if wave is not None:
            assert wave.ndim == 1 and wave.dtype == np.float32 and np.isfinite(wave).all() and np.ptp(wave) > 0
            for preset in PRESETS.values():
                log_mel = told(preset.compute, wave, str(path), WaveStatistics(0.0, 0.1), names=[str(path)])
                assert log_mel is None or np.isfinite(log_mel.astype(np.float16)).all()
        report = check.check(str(raw), "folder", RATE)
        assert [row.train for row in report.rows] == [1]
        assert all(is_one_line(line) for line in check.report_lines(report))
        readable = not any("no readable audio header" in problem for problem in report.all_problems)
        assert readable or wave is None


BYTES = st.sampled_from([*b"_.-0179aZ ,;'\"\\#\n\r\t\x1b\x7f", 0xC3, 0xA9, 0xFF, 0x80, 0xE2, 0xF0, 0x9F])
WORDS = st.sampled_from(
    ["normal", "anomaly", "id", "section", "source", "target", "train", "test", "00", "1", "_", "-", ".", "..", "__"]
    + [
        ".wav",
        ".flac",
        ".WAV",
        "٠",
        "é",
        "label",
        "normal_id_00_00000000",
        "section_00_source_train_normal_0000",
        "0" * 30,
    ]
).map(str.encode)
PARTS = st.one_of(
    st.lists(st.one_of(WORDS, st.lists(BYTES, max_size=4).map(bytes)), min_size=1, max_size=5).map(b"".join),
    st.text(min_size=1, max_size=20).map(lambda text: text.encode(errors="replace")),
    st.integers(1, 220).map(lambda length: b"x" * length),
).map(lambda part: part.replace(b"/", b"").replace(b"\0", b"")[:240] or b"x")
FOLDERS = {
    "dcase2020": ["{}_data/{}/{}", ("dev", "eval"), ("train", "test")],
    "dcase2021": ["{}_data/{}/{}", ("dev", "eval"), ("train", "source_test", "target_test")],
    "folder": ["{}/{}/{}", None, ("train", "test", "normal")],
    "tau2020": ["audio/{}/{}/{}", None, ("x",)],
    "audioset": ["{}/{}/{}", None, ("Speech",)],
}


@st.composite
def trees(draw):
    """(data set, files as bytes, of which some are folders) of a raw folder."""
    dataset = draw(st.sampled_from(sorted(FOLDERS)))
    template, first, last = FOLDERS[dataset]
    paths = []
    for _ in range(draw(st.integers(1, 4))):
        parts = (
            draw(st.sampled_from(first)).encode() if first else draw(PARTS),
            draw(st.one_of(st.just(b"saw"), PARTS)),
            draw(st.sampled_from(last)).encode(),
        )
        place = template.encode().replace(b"{}", b"%b") % parts
        suffix = draw(st.sampled_from([*SUFFIXES, ".wav", ".wav", ".txt", ""])).encode()
        paths.append(
            (place, draw(PARTS) + suffix, draw(st.sampled_from(["file", "file", "file", "folder", "pipe", "link"])))
        )
    return dataset, paths


@given(trees())
@example(("folder", [(b"saw/1/train", b"a.wav", "pipe")]))
@example(("folder", [(b"saw/1/train", b"\xff.wav", "file")]))
@example(("folder", [(b"saw/1/train", b"a\r.wav", "file")]))
@example(("dcase2020", [(b"dev_data/\xff/train", b"normal_id_00_00000000.wav", "file")]))
@example(("dcase2020", [(b"dev_data/%b/train" % (b"x" * 230), b"normal_id_00_00000000.wav", "file")]))
@example(("dcase2020", [(b"dev_data/saw/train", b"normal_id_%b_00000000.wav" % (b"0" * 200), "file")]))
def test_any_names_are_listed_checked_and_read_or_told(tree):
    dataset, paths = tree
    with folder() as raw:
        for place, name, what in paths:
            where = os.path.join(os.fsencode(raw), place)
            with contextlib.suppress(OSError):  # too long for the file system, or two of one name
                os.makedirs(where, exist_ok=True)
                path = os.path.join(where, name)
                if what == "folder":
                    os.mkdir(path)
                elif what == "pipe":
                    os.mkfifo(path)
                elif what == "link":
                    os.symlink(".", path)
                else:
                    with open(path, "wb") as file:
                        file.write(SOUNDS[".wav"][0])
        told(DATASETS[dataset].list_clips, str(raw))
        report = check.check(str(raw), dataset, RATE)
        assert all(is_one_line(line) for line in check.report_lines(report))
        misfits = []
        for clip in told(DATASETS[dataset].list_clips, str(raw), misfits=misfits) or ():
            if told(read_audio, clip.path, RATE) is None:
                continue
            name = os.path.relpath(clip.path, raw)  # what was read can be stored: in records, folders and score files
            write_scores(
                raw / "out" / f"anomaly_score_{clip.machine_type}_section_{clip.machine_id}_x.csv", [(name, 1.0)]
            )
            write_atomically(raw / "out" / "names.txt", "\n".join([clip.path, *clip.machine, clip.group]))
        assert all(is_one_line(sentence) for sentence in misfits)


CELLS = st.one_of(
    st.sampled_from(["a.wav", "./a.wav", "b.wav", "..", ".", "/dev/zero", "a\0.wav", "saw", "1", "train", "test"]),
    st.sampled_from(["0", "1", "normal", "anomaly", "", " ", "path", "label", "split", "machine_type", "é", '"', "\r"]),
    st.sampled_from(["id_01_0.wav", "normal_id_01_7.wav", "fan", "x" * 140_000]),
    st.text(max_size=8),
)
TABLES = st.lists(st.lists(CELLS, max_size=6), max_size=6).map(
    lambda rows: "\n".join(",".join(row) for row in rows).encode(errors="surrogatepass")
)
HEADER = b"path,machine_type,machine_id,split,label\n"
TEXTS = st.one_of(
    TABLES, TABLES.map(lambda text: HEADER + text), st.binary(max_size=60).map(lambda text: HEADER + text)
)


@given(TEXTS)
@example(HEADER + b"x" * 140_000 + b",saw,1,train,0\n")
@example(HEADER + b"a\0.wav,saw,1,train,0\n")
@example(HEADER + '"a\u2028.wav",saw,1,train,0\n'.encode())
def test_a_manifest_is_read_or_told(text):
    with folder() as raw:
        (raw / "a.wav").write_bytes(SOUNDS[".wav"][0])
        (raw / "a\u2028.wav").write_bytes(SOUNDS[".wav"][0])
        (raw / "manifest.csv").write_bytes(text)
        clips = told(DATASETS["folder"].list_clips, str(raw), names=["manifest.csv", str(raw)])
        for clip in clips or ():
            assert os.path.isfile(clip.path)
        assert all(is_one_line(line) for line in check.report_lines(check.check(str(raw), "folder", RATE)))


@given(st.one_of(TABLES, st.binary(max_size=60)))
@example(b"x" * 140_000 + b"\n")
@example(b",\n")
@example(b"fan\n \n")
def test_lists_of_labels_and_segments_are_read_or_told(text):
    with folder() as raw:
        place = raw / "dev_data" / "fan" / "test"
        place.mkdir(parents=True)
        (place / "normal_id_00_00000000.wav").write_bytes(SOUNDS[".wav"][0])
        for name in (
            "eval_data_list.csv",
            "ground_truth_fan_section_00_source_test.csv",
            "balanced_train_segments.csv",
        ):
            (raw / name).write_bytes(text)
        labels = told(read_label_list, raw / "eval_data_list.csv", names=["eval_data_list.csv"])
        assert labels is None or {label for clips in labels.values() for label in clips.values()} <= {0, 1}
        for dataset in ("dcase2020", "dcase2021", "audioset"):
            report = check.check(str(raw), dataset, RATE)
            assert all(is_one_line(line) for line in check.report_lines(report))

"""The made-up machines: what is written where, and that neither level nor chance tells a fault."""

import numpy as np
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from asd_jax.datasets import synthetic
from asd_jax.errors import UserError


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_layout_names_counts_and_format(tmp_path):
    count = synthetic.generate(
        tmp_path, machine_types=("belt",), machine_ids=("00", "02", "05"), train_clips=2, test_clips=1, seconds=1.5
    )
    assert count == 3 * (2 + 2)
    dev = [
        f"dev_data/belt/{name}_{counter:08d}.wav"
        for machine_id in ("00", "02")
        for name, counter in [
            (f"train/normal_id_{machine_id}", 0),
            (f"train/normal_id_{machine_id}", 1),
            (f"test/normal_id_{machine_id}", 0),
            (f"test/anomaly_id_{machine_id}", 0),
        ]
    ]
    evaluation = [
        f"eval_data/belt/{name}.wav"
        for name in (
            "train/normal_id_05_00000000",
            "train/normal_id_05_00000001",
            "test/id_05_00000000",
            "test/id_05_00000001",
        )
    ]
    assert sorted(files(tmp_path)) == sorted([*dev, *evaluation, "eval_data_list.csv"])
    for path in tmp_path.rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames, info.subtype) == (16_000, 1, 24_000, "PCM_16")


def test_the_same_arguments_write_the_same_bytes_and_another_seed_others(tmp_path):
    few = {"machine_ids": ("00", "01"), "train_clips": 1, "test_clips": 1, "seconds": 1.0}
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        synthetic.generate(tmp_path / folder, seed=seed, **few)
    synthetic.generate(tmp_path / "a", **few)
    first, again, other = (files(tmp_path / folder) for folder in "abc")
    assert first == again
    assert all(other[name] != content for name, content in first.items() if name.endswith(".wav"))
    wavs = [content for name, content in first.items() if name.endswith(".wav")]
    assert len(set(wavs)) == len(wavs)  # no two clips are the same recording


def test_more_clips_keep_the_former_ones(tmp_path):
    one = {"machine_types": ("relay",), "machine_ids": ("00", "01"), "seconds": 1.0}
    synthetic.generate(tmp_path, train_clips=1, test_clips=2, **one)
    before = files(tmp_path)
    synthetic.generate(tmp_path, train_clips=3, test_clips=4, **one)
    after = files(tmp_path)
    truth = "eval_data_list.csv"
    assert set(after) > set(before)
    assert all(after[name] == content for name, content in before.items() if name != truth)
    assert after[truth].startswith(before[truth])


def test_the_evaluation_list_tells_the_truth(tmp_path):
    types = ("rotor", "piston")
    few = {"machine_types": types, "test_clips": 12, "train_clips": 0, "seconds": 1.0}
    synthetic.generate(tmp_path, machine_ids=("00", "01"), **few)
    machine_type, labels, listed = None, {}, set()
    for line in (tmp_path / "eval_data_list.csv").read_text().splitlines():
        if "," not in line:
            machine_type = line
            continue
        name, labelled, label = line.split(",")
        listed.add(tmp_path / "eval_data" / machine_type / "test" / name)
        labels[machine_type, name] = int(label)
        assert labelled.startswith(("normal", "anomaly")[int(label)] + "_id_01_")
        counter = int(labelled[-12:-4])
        content = soundfile.read(tmp_path / "eval_data" / machine_type / "test" / name, dtype="int16")[0]
        expected = synthetic.waveform(0, machine_type, "01", "test", int(label), counter, 1.0)
        np.testing.assert_array_equal(content, expected)
    assert listed == set(tmp_path.glob("eval_data/*/test/*.wav"))
    in_order_of_name = [labels[key] for key in sorted(labels)]
    assert sum(in_order_of_name) == len(labels) // 2 == 24
    assert set(in_order_of_name[::2]) == {0, 1}  # the order of the names tells nothing


@pytest.fixture(scope="module")
def clips():
    """Waveforms in [-1, 1] by (machine type, split, label), of one ID each."""
    wanted = [("train", 0, 20), ("test", 0, 24), ("test", 1, 24)]
    return {
        (machine_type, split, label): [
            synthetic.waveform(0, machine_type, "00", split, label, counter, 3.0) / 2**15 for counter in range(count)
        ]
        for machine_type in synthetic.MACHINE_TYPES
        for split, label, count in wanted
    }


def log_spectrum(clip):
    """Mean and deviation over time of 64 bands of the clip's log spectrum, whatever its level."""
    frames = np.lib.stride_tricks.sliding_window_view(clip / clip.std(), 1024)[::512]
    power = np.abs(np.fft.rfft(frames * np.hanning(1024)))[:, 1:] ** 2
    decibels = 10 * np.log10(power.reshape(len(frames), 64, 8).mean(axis=2))
    return np.concatenate([decibels.mean(axis=0), decibels.std(axis=0)])


def test_level_does_not_tell_an_anomaly(clips):
    level = {
        label: np.array([clip.std() for key, of in clips.items() if key[1:] == ("test", label) for clip in of])
        for label in (0, 1)
    }
    np.testing.assert_allclose(level[0], level[1], rtol=1e-3)
    assert np.std(20 * np.log10(level[0])) == pytest.approx(1.5, rel=0.25)  # and yet it varies, in dB
    assert max(np.abs(clip).max() for of in clips.values() for clip in of) < 0.99


@pytest.mark.parametrize("machine_type", synthetic.MACHINE_TYPES)
def test_the_spectrum_tells_most_anomalies_but_not_all(clips, machine_type):
    train = np.array([log_spectrum(clip) for clip in clips[machine_type, "train", 0]])
    scores = {
        label: [np.linalg.norm(train - log_spectrum(clip), axis=1).min() for clip in clips[machine_type, "test", label]]
        for label in (0, 1)
    }
    assert 0.6 < roc_auc_score([0] * 24 + [1] * 24, scores[0] + scores[1]) < 0.99


def test_ids_differ_and_types_differ_more():
    centre = {
        (machine_type, machine_id): np.mean(
            [log_spectrum(synthetic.waveform(0, machine_type, machine_id, "train", 0, i, 2.0)) for i in range(4)],
            axis=0,
        )
        for machine_type in synthetic.MACHINE_TYPES
        for machine_id in ("00", "01")
    }
    distance = lambda a, b: np.linalg.norm(centre[a] - centre[b])  # noqa: E731
    for machine_type in synthetic.MACHINE_TYPES:
        siblings = distance((machine_type, "00"), (machine_type, "01"))
        others = min(distance((machine_type, "00"), machine) for machine in centre if machine[0] != machine_type)
        assert 5 < siblings < others


def test_mistakes_are_told(tmp_path):
    with pytest.raises(UserError, match="no synthetic machine type 'fan': choose from rotor, piston, belt, relay"):
        synthetic.generate(tmp_path, machine_types=("fan",))
    with pytest.raises(UserError, match="ID '7' is not two digits"):
        synthetic.generate(tmp_path, machine_ids=("7",))
    foreign = tmp_path / "dev_data" / "fan" / "train" / "normal_id_00_00000000.wav"
    foreign.parent.mkdir(parents=True)
    foreign.touch()
    with pytest.raises(UserError, match="already holds 1 clips"):
        synthetic.generate(tmp_path, machine_types=("belt",))
    assert list(tmp_path.rglob("*.wav")) == [foreign]

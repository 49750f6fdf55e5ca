"""The made-up machines: neither level nor chance tells a fault, and the target domain is another condition."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from asd_jax.datasets.synthetic_sound import MADE_UP_TYPES, made_up_sound

DOMAINS = ("source", "target")


@pytest.fixture(scope="module")
def clips():
    """Waveforms in [-1, 1] by (machine type, domain, split, label), of one ID each."""
    wanted = [("train", 0, 20), ("test", 0, 24), ("test", 1, 24)]
    return {
        (machine_type, domain, split, label): [
            made_up_sound(0, machine_type, "00", split, label, counter, 3.0, domain) / 2**15 for counter in range(count)
        ]
        for machine_type in MADE_UP_TYPES
        for domain in DOMAINS
        for split, label, count in wanted
    }


@pytest.fixture(scope="module")
def spectra(clips):
    return {key: np.array([log_spectrum(clip) for clip in of]) for key, of in clips.items()}


def log_spectrum(clip):
    """Mean and deviation over time of 64 bands of the clip's log spectrum, whatever its level."""
    frames = np.lib.stride_tricks.sliding_window_view(clip / clip.std(), 1024)[::512]
    power = np.abs(np.fft.rfft(frames * np.hanning(1024)))[:, 1:] ** 2
    decibels = 10 * np.log10(power.reshape(len(frames), 64, 8).mean(axis=2))
    return np.concatenate([decibels.mean(axis=0), decibels.std(axis=0)])


def nearest(spectra, machine_type, trained_on, tested_on, label):
    """Distance of every test clip of a domain to the nearest training clip of a domain."""
    train = spectra[machine_type, trained_on, "train", 0]
    return [np.linalg.norm(train - clip, axis=1).min() for clip in spectra[machine_type, tested_on, "test", label]]


def auc(spectra, machine_type, trained_on, tested_on):
    normal, anomaly = (nearest(spectra, machine_type, trained_on, tested_on, label) for label in (0, 1))
    return roc_auc_score([0] * len(normal) + [1] * len(anomaly), normal + anomaly)


@pytest.mark.parametrize("domain", DOMAINS)
def test_level_does_not_tell_an_anomaly(clips, domain):
    level = {
        label: np.array([clip.std() for key, of in clips.items() if key[1:] == (domain, "test", label) for clip in of])
        for label in (0, 1)
    }
    np.testing.assert_allclose(level[0], level[1], rtol=1e-3)
    assert np.std(20 * np.log10(level[0])) == pytest.approx(1.5, rel=0.25)  # and yet it varies, in dB
    assert max(np.abs(clip).max() for of in clips.values() for clip in of) < 0.99


@pytest.mark.parametrize("machine_type", MADE_UP_TYPES)
def test_the_spectrum_tells_most_anomalies_but_not_all(spectra, machine_type):
    assert 0.6 < auc(spectra, machine_type, "source", "source") < 0.99


@pytest.mark.parametrize("machine_type", MADE_UP_TYPES)
def test_the_target_domain_is_strange_to_a_detector_trained_on_source(spectra, machine_type):
    distance = {domain: np.mean(nearest(spectra, machine_type, "source", domain, 0)) for domain in DOMAINS}
    assert distance["target"] > 1.5 * distance["source"]
    assert auc(spectra, machine_type, "source", "target") < auc(spectra, machine_type, "source", "source")


def test_a_clip_of_the_target_domain_is_a_run_of_its_own(clips):
    levels = [
        [clip.std() for key, of in clips.items() if key[1:] == (domain, "train", 0) for clip in of]
        for domain in DOMAINS
    ]
    assert abs(np.corrcoef(levels)[0, 1]) < 0.4


def test_faults_can_be_heard_in_the_target_domain_too(spectra):
    mean = {
        (train, test): np.mean([auc(spectra, machine_type, train, test) for machine_type in MADE_UP_TYPES])
        for train, test in (("source", "source"), ("source", "target"), ("target", "target"))
    }
    assert mean["source", "target"] < mean["source", "source"] - 0.1
    assert mean["target", "target"] > mean["source", "target"] + 0.05


def test_ids_differ_and_types_differ_more():
    centre = {
        (machine_type, machine_id): np.mean(
            [log_spectrum(made_up_sound(0, machine_type, machine_id, "train", 0, i, 2.0)) for i in range(4)],
            axis=0,
        )
        for machine_type in MADE_UP_TYPES
        for machine_id in ("00", "01")
    }

    def distance(a, b):
        return np.linalg.norm(centre[a] - centre[b])

    for machine_type in MADE_UP_TYPES:
        siblings = distance((machine_type, "00"), (machine_type, "01"))
        others = min(distance((machine_type, "00"), machine) for machine in centre if machine[0] != machine_type)
        assert 5 < siblings < others

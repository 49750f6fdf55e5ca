"""An ensemble is the mean of its members, each standardised on normal clips of the machine."""

import numpy as np
import pytest

from asd_jax.base.errors import UserError
from asd_jax.evaluation.ensemble import Member, ensemble_scores
from configs import multitask
from tests.built import workdir_of
from tests.embeddings import join, make, normal


def write_workdir(folder, held_back, test):
    workdir = workdir_of(folder, multitask)
    held_back.save(workdir.embeddings(0, "held_back"))
    test.save(workdir.embeddings(0, "test"))
    return str(folder)


def embeddings(probabilities, machine_id, name):
    parts = [
        make(np.zeros((1, 2, 3)), machine_id, name=f"{name}{i}", probability=p) for i, p in enumerate(probabilities)
    ]
    return join(*parts)


def test_scores_are_standardised_by_machine_and_averaged(tmp_path):
    held_back = join(embeddings([0.8, 0.6], "00", "h"), embeddings([0.5, 0.1], "01", "h"))
    test = join(embeddings([0.7, 0.4], "00", "t"), embeddings([0.3], "01", "t"))
    other = join(embeddings([0.9, 0.7], "00", "h"), embeddings([0.4, 0.2], "01", "h"))
    workdirs = [write_workdir(tmp_path / "a", held_back, test), write_workdir(tmp_path / "b", other, test)]
    found = ensemble_scores([Member(workdir, "none", 0) for workdir in workdirs], run=0)
    first = [(0.7 - 0.7) / 0.1, (0.7 - 0.4) / 0.1, (0.3 - 0.3) / 0.2]
    second = [(0.8 - 0.7) / 0.1, (0.8 - 0.4) / 0.1, (0.3 - 0.3) / 0.1]
    np.testing.assert_allclose(found.score, np.mean([first, second], axis=0), atol=1e-5)
    assert found.machine_id.tolist() == ["00", "00", "01"]


def test_inlier_models_are_members_too_and_far_clips_score_high(tmp_path):
    held_back = make(normal((8, 10, 3)))
    test = join(
        make(normal((2, 10, 3), seed=1), name="near"), make(20 + normal((2, 10, 3), seed=2), name="far", label=1)
    )
    workdir = write_workdir(tmp_path / "a", held_back, test)
    score = ensemble_scores([Member(workdir, "gmm", 1), Member(workdir, "lof", 4)], run=0).score
    assert score[2:].min() > score[:2].max() + 3


def test_members_that_scored_other_clips_are_refused(tmp_path):
    held_back = make(normal((3, 10, 3)))
    workdirs = [
        write_workdir(tmp_path / "a", held_back, make(normal((2, 10, 3)))),
        write_workdir(tmp_path / "b", held_back, make(normal((3, 10, 3)))),
    ]
    with pytest.raises(UserError, match="have not scored the same test clips"):
        ensemble_scores([Member(workdir, "none", 0) for workdir in workdirs], run=0)

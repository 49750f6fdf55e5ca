"""The choice of the inlier model is written where later commands find it."""

import json

import pytest

from asd_jax.base.errors import UserError
from asd_jax.evaluation.select_inlier import select
from asd_jax.methods.recipe import InlierChoice
from asd_jax.recipes.workdir import Workdir
from asd_jax.scoring.scorer import inlier_choice
from configs import multitask
from tests.built import workdir_of
from tests.embeddings import join, make, normal


def write_workdir(folder, far, product_weight=1.0):
    workdir = workdir_of(folder, multitask, inlier="gmm", inlier_p=64, product_weight=product_weight)
    make(normal((6, 10, 3))).save(workdir.embeddings(0, "held_back"))
    test = join(
        make(normal((8, 10, 3), seed=1), name="n"),
        make(far + normal((8, 10, 3), seed=2), name="a", label=1),
        make(normal((2, 10, 3), seed=3), "03", name="eval", part="eval", label=-1),  # not looked at
    )
    test.save(workdir.embeddings(0, "test"))
    return str(folder)


def test_the_choice_is_used_from_then_on(tmp_path):
    workdir = write_workdir(tmp_path / "w", far=9.0)
    assert inlier_choice(Workdir(workdir)) == InlierChoice("gmm", 64)
    shown = select([workdir])
    choice = json.loads((tmp_path / "w/inlier_choice.json").read_text())
    assert (choice["kind"], choice["p"]) == ("gmm", 1) and choice["mean"] == 1.0  # the first of those without an error
    assert inlier_choice(Workdir(workdir)) == InlierChoice("gmm", 1)
    assert "Chose gmm with p=1 on 00; 2 of 14 could not be fitted" in shown
    rows = (tmp_path / "w/inlier_grid.csv").read_text().splitlines()
    assert rows[0] == "h,p,harmonic mean,AUC 00,pAUC 00,why not" and len(rows) == 15
    assert sum("config.inlier_p=64" in row for row in rows) == 2


def test_lambda_is_chosen_between_workdirs(tmp_path):
    worse = write_workdir(tmp_path / "a", far=0.5, product_weight=0.1)
    better = write_workdir(tmp_path / "b", far=9.0, product_weight=10.0)
    lines = select([worse, better]).splitlines()
    assert lines[-1] == f"Best: {better}"


def test_a_workdir_without_development_clips_is_told(tmp_path):
    workdir = write_workdir(tmp_path / "w", far=1.0)
    make(normal((2, 10, 3)), part="eval").save(Workdir(workdir).embeddings(0, "test"))
    with pytest.raises(UserError, match="no labelled test clips of development machines"):
        select([workdir])


def test_embeddings_of_a_training_under_way_choose_nothing(tmp_path):
    workdir = write_workdir(tmp_path / "w", far=9.0)
    for step in (2, None):  # evaluated beside the training, and by an older version
        make(normal((2, 10, 3)), step=step).save(Workdir(workdir).embeddings(0, "test"))
        with pytest.raises(UserError, match=r"are of step 3 .* and of (step 2|an unknown step)"):
            select([workdir])
    assert not (tmp_path / "w/inlier_choice.json").exists()

"""Several detectors as one: their scores, made comparable on normal clips, and averaged."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from asd_jax.backends import models
from asd_jax.backends.models import ClipScores
from asd_jax.base.errors import UserError
from asd_jax.recipes.workdir import Workdir
from asd_jax.scoring.scorer import load_embeddings


@dataclasses.dataclass(frozen=True)
class Member:
    """One detector on the embeddings of a trained and evaluated workdir.

    Attributes:
        workdir: of an encoder.
        kind: a key of `BACKENDS`.
        p: components or neighbours.
    """

    workdir: str
    kind: str
    p: int


def ensemble_scores(members: Sequence[Member], run: int) -> ClipScores:
    """The test clips' scores of one run: the mean over the members, each standardised by machine ID.

    A member's score of a clip is taken less the mean, and divided by the standard deviation, of its scores of that ID's
    held-back normal clips, each scored by models fitted without it.

    Raises:
        UserError: the members have not scored the same clips, or an inlier model cannot be fitted.
    """
    scored = [_standardised(member, run) for member in members]
    first = scored[0]
    for member, other in zip(members, scored, strict=True):
        if not (np.array_equal(first.clip, other.clip) and np.array_equal(first.machine_id, other.machine_id)):
            raise UserError(
                f"{members[0].workdir} and {member.workdir} have not scored the same test clips: evaluate both on the "
                "same data."
            )
    return dataclasses.replace(first, score=np.mean([one.score for one in scored], axis=0))


def _standardised(member: Member, run: int) -> ClipScores:
    workdir = Workdir(member.workdir)
    held_back, test = load_embeddings(workdir, run)
    of_member = (member.kind, member.p, workdir.recipe.seed)
    normal = models.cross_scores(held_back, *of_member)
    scores = models.fit(held_back, *of_member).score(test)
    standard = np.empty(len(scores.score))
    for machine_id in np.unique(scores.machine_id):
        of_normal, mine = normal.score[normal.machine_id == machine_id], scores.machine_id == machine_id
        standard[mine] = (scores.score[mine] - of_normal.mean()) / max(of_normal.std(), 1e-12)
    return dataclasses.replace(scores, score=standard)

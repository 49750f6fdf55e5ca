"""Several detectors as one: their scores, made comparable on normal clips, and averaged."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from asd_jax import detection, experiment, inlier
from asd_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Member:
    """One detector on the embeddings of a trained and evaluated workdir.

    Attributes:
        workdir: of an encoder.
        kind: "gmm" or "lof", or "none": the mean probability of the clip's own product ID.
        p: components or neighbours.
    """

    workdir: str
    kind: str
    p: int


def ensemble_scores(members: Sequence[Member], run: int) -> inlier.ClipScores:
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


def _standardised(member: Member, run: int) -> inlier.ClipScores:
    held_back, test = detection.load_embeddings(member.workdir, run)
    if member.kind == "none":
        normal, scores = inlier.improbability(held_back), inlier.improbability(test)
    else:
        seed = experiment.load_config(member.workdir).seed
        normal = inlier.cross_scores(held_back, member.kind, member.p, seed)
        scores = inlier.fit(held_back, member.kind, member.p, seed).score(test)
    standard = np.empty(len(scores.score))
    for machine_id in np.unique(scores.machine_id):
        of_normal, mine = normal.score[normal.machine_id == machine_id], scores.machine_id == machine_id
        standard[mine] = (scores.score[mine] - of_normal.mean()) / max(of_normal.std(), 1e-12)
    return dataclasses.replace(scores, score=standard)

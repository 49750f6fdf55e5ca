"""A backend that looks at domains: the distance to the nearest embedding of either, scaled by how near they lie."""

import jax.numpy as jnp
import numpy as np

from asd_jax.backends.backend import Backend


class NearestOfDomains(Backend):
    """The smaller of the distances to the nearest points of the domains that there are."""

    model_type = dict

    @classmethod
    def needs(cls, p):
        return 1

    @classmethod
    def fit(cls, normal, p, seed):
        domains = {domain: normal.embedding[normal.domain == domain] for domain in ("source", "target")}
        found = {domain: points for domain, points in domains.items() if len(points)}
        return cls(found | {"middle": found["source"].mean(0)})

    def segment_scores(self, segments):
        nearest = np.min(
            [_distances(np, segments.embedding, self.model[name]) for name in self._domains(self.model)], 0
        )
        return nearest + 1e-3 * np.linalg.norm(segments.embedding - self.model["middle"], axis=1)

    def arrays(self):
        return self.model

    @staticmethod
    def _domains(arrays):
        return sorted(set(arrays) - {"middle"})

    @staticmethod
    def device_segment_scores(arrays, outputs, product, p):
        names = NearestOfDomains._domains(arrays)
        nearest = jnp.stack([_distances(jnp, outputs["embedding"], arrays[name]) for name in names]).min(0)
        return nearest + 1e-3 * jnp.linalg.norm(outputs["embedding"] - arrays["middle"], axis=1)


def _distances(xp, embedding, points):
    return xp.linalg.norm(embedding[:, None] - points, axis=-1).min(1)

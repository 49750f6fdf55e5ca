"""The stand-in for paper 2's parallel method: an ensemble of ID classifiers and density models.

    python tools/reproduce.py --paper=2 --rows=parallel --data_dir=data2 --out=study

Its authors' report is not public; known are five models, classifiers of machine IDs and inlier models on their
features. Here three encoders give five members, each "row of the study/kind of inlier model/p"; "none" is the
probability of the own ID. Scores are standardised on held-back normal clips and averaged.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """The members."""
    config = ml_collections.ConfigDict()
    config.members = (
        "only_product_ids/none/0",
        "only_product_ids/gmm/2",
        "only_product_ids/lof/8",
        "proposed/gmm/2",
        "without_mixup/lof/8",
    )
    return config

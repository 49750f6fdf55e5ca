"""Paper 2's detector: an encoder trained on two losses with Mixup, and an inlier model on its embeddings.

    python tools/train.py --config=configs/multitask.py --workdir=runs/fan \
        --config.data_dir=data2 --config.machine_type=fan

The values are those of the paper's text, for the machine types of its Table I those of the table. Words after a colon,
joined by commas, change the recipe: `as_released` takes the values of the authors' code where it differs; `quicktest`
is a reduced network, to see the whole journey work within minutes on a CPU; `without_mixup`, `without_inlier` (no h)
and `only_product_ids` (also the stand-in for the serial method) are the ablations of Table III.
"""

import ml_collections

from asd_jax.methods.multitask import Recipe
from asd_jax.recipes.keys import as_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The recipe; `variant` is what follows the colon: words joined by commas, or nothing."""
    config = as_config(Recipe())
    for word in filter(None, variant.split(",")):
        _apply(config, word)
    return config


def _apply(config: ml_collections.ConfigDict, word: str) -> None:
    match word:
        case "as_released":
            config.mixup_domain = "power"
            config.mixup_schedule = "falling"
            config.soft_targets = False
            config.validation_epochs = 5
        case "without_mixup":
            config.mixup_alpha = 0.0
        case "without_inlier":
            config.inlier = "none"
        case "only_product_ids":
            config.machine_weight = 0.0
            config.product_weight = 1.0
        case "quicktest":
            config.network.width = 0.25
            config.network.depth = 0.4
            config.batch_size = 16
            config.num_epochs = 20
            config.learning_rate = 2e-3
        case _:
            raise ValueError(
                f"Unknown variant {word!r}: expected as_released, quicktest, without_mixup, without_inlier or "
                "only_product_ids, joined by commas."
            )

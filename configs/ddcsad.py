"""DDCSAD, one of the systems that paper 2 compares with: one network for each product ID.

    python tools/train.py --config=configs/ddcsad.py --workdir=runs/fan_03 \
        --config.data_dir=data2 --config.machine_type=fan --config.machine_id=03

What is known of it and what was chosen is said in `asd_jax/methods/ddcsad.py`. `:quicktest` is a reduced network.
"""

import ml_collections

from asd_jax.methods.ddcsad import Recipe
from asd_jax.recipes.keys import as_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The recipe; `variant` is what follows the colon: nothing or `quicktest`."""
    config = as_config(Recipe())
    match variant:
        case "":
            pass
        case "quicktest":
            config.network.width = 0.25
            config.network.depth = 0.4
            config.batch_size = 16
            config.num_epochs = 20
            config.learning_rate = 2e-3
        case _:
            raise ValueError(f"Unknown variant {variant!r}: expected nothing or quicktest.")
    return config

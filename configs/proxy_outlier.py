"""Paper 1's detector: a ResNet that separates a machine's normal sound from proxy outliers.

    python tools/train.py --config=configs/proxy_outlier.py --workdir=runs/fan_00 \
        --config.data_dir=data --config.machine_type=fan --config.machine_id=00 --config.outlier_set=c

The values are those of the paper's text. `configs/proxy_outlier.py:as_released` takes those of the authors' code where
it differs; `:quicktest` is a reduced network, to see the whole journey work within minutes on a CPU.
"""

import ml_collections

from asd_jax.methods.proxy_outlier import Recipe
from asd_jax.recipes.keys import as_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The recipe; `variant` is what follows the colon: nothing, `as_released` or `quicktest`."""
    config = as_config(Recipe())
    match variant:
        case "":
            pass
        case "as_released":
            config.network.blocks = (4, 1, 2)
            config.network.fixup = True
            config.outlier_crop = "last"
            config.beta2 = 0.999
            config.learning_rate_decay = 0.98
        case "quicktest":
            config.network.blocks = (2, 1, 1)
            config.network.width = 8
            config.batch_size = 16
            config.window = 64
            config.num_epochs = 25
            config.learning_rate = 2e-3
            config.score_hop = 16
            config.held_back = 6
        case _:
            raise ValueError(f"Unknown variant {variant!r}: expected nothing, as_released or quicktest.")
    return config

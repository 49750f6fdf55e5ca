"""The reconstruction baselines that paper 1 compares with.

    python tools/train.py --config=configs/autoencoder.py --workdir=runs/fan_00 \
        --config.data_dir=data --config.machine_type=fan --config.machine_id=00

The values are those of paper 1's released code (its text says "batch size 512, learning rate decay one"): one model per
machine ID. `configs/autoencoder.py:dcase2020_baseline` is the challenge's official baseline: one model per machine
type, on data prepared with --features=dcase2020_baseline. That one keeps a tenth of its windows for watching the loss,
which chooses nothing; here it trains on all clips. `:quicktest` is a short training.
"""

import ml_collections

from asd_jax.methods.autoencoder import Recipe
from asd_jax.recipes.keys import as_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The recipe; `variant` is what follows the colon: words joined by commas, or nothing."""
    config = as_config(Recipe())
    for word in filter(None, variant.split(",")):
        _apply(config, word)
    return config


def _apply(config: ml_collections.ConfigDict, word: str) -> None:
    match word:
        case "dcase2020_baseline":
            config.features = "dcase2020_baseline"
            config.network.widths = (128, 128, 128, 128, 8, 128, 128, 128, 128)
            config.network.kernel_gain = 1.0  # Keras's defaults, as the three below
            config.network.bias = 0.0
            config.network.momentum = 0.99
            config.network.epsilon = 1e-3
            config.learning_rate = 1e-3
        case "quicktest":
            config.num_epochs = 10
            config.learning_rate = 1e-3
            config.held_back = 6
        case _:
            raise ValueError(
                f"Unknown variant {word!r}: expected dcase2020_baseline or quicktest, joined by a comma, or nothing."
            )

"""The density baseline that paper 1 compares with: a masked autoregressive flow for all machines, given their IDs.

    python tools/train.py --config=configs/maf.py --workdir=runs/maf --config.data_dir=data

After system 2 of Haunschmid and Praher (DCASE 2020 Task 2), whose sizes paper 1 names: 4 blocks of 2048 units, 41
machine IDs, 29,720,576 parameters. Learning rate, batch size, number of epochs and order of the inputs are not
published and chosen here; so is that the mel bands are standardised over all training clips, which that system does and
paper 1 does not say. Instead of stopping early, the weights of the epoch with the best validation loss are kept.
`:all_ids` scores by the density averaged over all IDs, as that system's code does; `:quicktest` is a reduced network.
"""

import ml_collections

from asd_jax.methods.maf import Recipe
from asd_jax.recipes.keys import as_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The recipe; `variant` is what follows the colon: words joined by commas, or nothing."""
    config = as_config(Recipe())
    for word in filter(None, variant.split(",")):
        _apply(config, word)
    return config


def _apply(config: ml_collections.ConfigDict, word: str) -> None:
    match word:
        case "all_ids":
            config.score = "all_ids"
        case "quicktest":
            config.network.blocks = 2
            config.network.hidden = 256
            config.batch_size = 128
            config.num_epochs = 10
            config.learning_rate = 1e-3
        case _:
            raise ValueError(f"Unknown variant {word!r}: expected all_ids or quicktest, joined by a comma, or nothing.")

"""The density baseline that paper 1 compares with: a masked autoregressive flow for all machines, given their IDs.

    python tools/train.py --config=configs/maf.py --workdir=runs/maf --config.data_dir=data

After system 2 of Haunschmid and Praher (DCASE 2020 Task 2), whose sizes paper 1 names: 4 blocks of 2048 units, 41
machine IDs, 29,720,576 parameters. Learning rate, batch size, number of epochs and order of the inputs are not
published and chosen here; so is that the mel bands are standardised over all training clips, which that system does and
paper 1 does not say. Instead of stopping early, the weights of the epoch with the best validation loss are kept.
`:all_ids` scores by the density averaged over all IDs, as that system's code does; `:quicktest` is a reduced network.
"""

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The recipe; `variant` is what follows the colon: words joined by commas, or nothing."""
    config = ml_collections.ConfigDict()
    config.method = "maf"
    config.seed = 0
    config.num_runs = 1  # independent trainings; the paper gives means over 3

    # Data
    config.data_dir = ""  # what tools/prepare.py wrote
    config.features = "paper1"
    config.machine_type = ""  # empty: one model for all machines of all types
    config.machine_id = ""  # empty: of all IDs
    config.validation_share = 0.1  # of the clips of every machine; they choose the epoch
    config.standardise_bands = True  # mel bands to mean 0 and variance 1
    config.window = 4  # frames of a snippet
    config.hop = 4  # frames between the snippets of a clip, in training and scoring: no overlap

    # Network
    config.flow_blocks = 4
    config.width = 2048  # units of a hidden layer
    config.hidden_layers = 1  # from hidden to hidden, after the one from the inputs
    config.input_order = "sequential"  # of the first block, reversed from block to block; or random
    config.precision = "float32"  # of activations; or bfloat16. Parameters are float32.

    # Training
    config.batch_size = 512
    config.num_epochs = 50
    config.learning_rate = 1e-4
    config.learning_rate_decay = 1.0  # factor per epoch
    config.beta2 = 0.999  # Adam
    config.validation_epochs = 1  # epochs between measurements of the validation loss

    # Scoring
    config.score = "own_id"  # the density given the clip's own ID; or all_ids, the mean density given any

    # Housekeeping
    config.steps_per_dispatch = 8  # that the devices take without the host; changes numbers by float rounding only
    config.checkpoint_epochs = 5  # epochs between checkpoints
    config.compilation_cache = "~/.cache/asd_jax"  # empty: compile anew each time

    for word in filter(None, variant.split(",")):
        _apply(config, word)
    return config


def _apply(config: ml_collections.ConfigDict, word: str) -> None:
    match word:
        case "all_ids":
            config.score = "all_ids"
        case "quicktest":
            config.flow_blocks = 2
            config.width = 256
            config.batch_size = 128
            config.num_epochs = 10
            config.learning_rate = 1e-3
        case _:
            raise ValueError(f"Unknown variant {word!r}: expected all_ids or quicktest, joined by a comma, or nothing.")

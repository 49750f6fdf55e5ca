"""DDCSAD, one of the systems that paper 2 compares with: one network for each product ID.

    python tools/train.py --config=configs/ddcsad.py --workdir=runs/fan_03 \
        --config.data_dir=data2 --config.machine_type=fan --config.machine_id=03

What is known of it and what was chosen is said in `asd_jax/methods/ddcsad.py`. `:quicktest` is a reduced network.
"""

import ml_collections
from ml_collections import config_dict


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The recipe; `variant` is what follows the colon: nothing or `quicktest`."""
    config = ml_collections.ConfigDict()
    config.method = "ddcsad"
    config.seed = 0
    config.num_runs = 1

    # Data
    config.data_dir = ""  # what tools/prepare.py wrote
    config.features = "paper2"
    config.machine_type = ""
    config.machine_id = ""  # the product ID
    config.domains = ("source",)  # of the clips to train on and to evaluate
    config.outlier_set = "all"  # negatives: all other machines
    config.num_outliers = config_dict.placeholder(int)  # how many clips of the set; None: all
    config.validation_share = 0.1  # of the clips of every machine; they choose the epoch
    config.window = 126  # frames: 2 s

    # Network, losses, score
    config.width = 1.0  # factor on EfficientNet-B0's channels
    config.depth = 1.0  # factor on its blocks per stage
    config.dropout = 0.3  # of the pooled features
    config.drop_path = 0.0
    config.precision = "float32"  # of activations; or bfloat16. Parameters are float32.
    config.remat = False  # compute activations again for the gradients: less memory, more time
    config.metric_weight = 1.0
    config.distance_weight = 0.5  # of the score; the probability has the rest

    # Training
    config.batch_size = 64  # half of the product ID
    config.num_epochs = 300
    config.learning_rate = 1e-3  # at its highest
    config.weight_decay = 0.0
    config.validation_epochs = 1  # epochs between measurements of the validation loss

    # Housekeeping
    config.checkpoint_epochs = 5  # epochs between checkpoints
    config.compilation_cache = "~/.cache/asd_jax"  # empty: compile anew each time

    match variant:
        case "":
            pass
        case "quicktest":
            config.width = 0.25
            config.depth = 0.4
            config.batch_size = 16
            config.num_epochs = 20
            config.learning_rate = 2e-3
        case _:
            raise ValueError(f"Unknown variant {variant!r}: expected nothing or quicktest.")
    return config

"""Paper 1's detector: a ResNet that separates a machine's normal sound from proxy outliers.

    python tools/train.py --config=configs/proxy_outlier.py --workdir=runs/fan_00 \
        --config.data_dir=data --config.machine_type=fan --config.machine_id=00 --config.outlier_set=c

The values are those of the paper's text. `configs/proxy_outlier.py:as_released` takes those of the authors' code where
it differs; `:quicktest` is a reduced network, to see the whole journey work within minutes on a CPU.
"""

import ml_collections
from ml_collections import config_dict


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The recipe; `variant` is what follows the colon: nothing, `as_released` or `quicktest`."""
    config = ml_collections.ConfigDict()
    config.method = "proxy_outlier"
    config.seed = 0
    config.num_runs = 1  # independent trainings; the paper gives means over 3

    # Data
    config.data_dir = ""  # what tools/prepare.py wrote
    config.features = "paper1"
    config.machine_type = ""
    config.machine_id = ""
    # a: same type, b: other types of the recording group, c: a and b, d: other groups, all; e: TAU 2020, f: AudioSet
    config.outlier_set = "c"
    config.num_outliers = config_dict.placeholder(int)  # how many clips of the set; None: all
    config.outlier_crop = "random"  # which window of a clip of e or f is shown; or last
    config.held_back = 0  # normal clips kept from training, from which a decision threshold is found; paper: 0
    config.window = 256  # frames

    # Network
    config.blocks = (4, 4, 4)  # residual blocks per stage
    config.width = 64  # channels of the first stage
    config.fixup = False  # initialise as the released code does
    config.precision = "float32"  # of activations; or bfloat16. Parameters are float32.

    # Training
    config.batch_size = 64  # half normal, half outliers
    config.num_epochs = 100
    config.learning_rate = 1e-4
    config.learning_rate_decay = 0.99  # factor per epoch
    config.beta2 = 0.99  # Adam

    # Scoring
    config.score_hop = 1  # frames between the windows of a clip; 15 costs 15 times less and scores nearly the same

    # Housekeeping
    config.checkpoint_epochs = 5  # epochs between checkpoints
    config.compilation_cache = "~/.cache/asd_jax"  # empty: compile anew each time

    match variant:
        case "":
            pass
        case "as_released":
            config.blocks = (4, 1, 2)
            config.fixup = True
            config.outlier_crop = "last"
            config.beta2 = 0.999
            config.learning_rate_decay = 0.98
        case "quicktest":
            config.blocks = (2, 1, 1)
            config.width = 8
            config.batch_size = 16
            config.window = 64
            config.num_epochs = 25
            config.learning_rate = 2e-3
            config.score_hop = 16
            config.held_back = 6
        case _:
            raise ValueError(f"Unknown variant {variant!r}: expected nothing, as_released or quicktest.")
    return config

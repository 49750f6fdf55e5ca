"""The reconstruction baselines that paper 1 compares with.

    python tools/train.py --config=configs/autoencoder.py --workdir=runs/fan_00 \
        --config.data_dir=data --config.machine_type=fan --config.machine_id=00

The values are those of paper 1's released code (its text says "batch size 512, learning rate decay one"): one model per
machine ID. `configs/autoencoder.py:dcase2020_baseline` is the challenge's official baseline: one model per machine
type, on data prepared with --features=dcase2020_baseline. That one keeps a tenth of its windows for watching the loss,
which chooses nothing; here it trains on all clips. `:quicktest` is a short training.
"""

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The recipe; `variant` is what follows the colon: words joined by commas, or nothing."""
    config = ml_collections.ConfigDict()
    config.method = "autoencoder"
    config.seed = 0
    config.num_runs = 1  # independent trainings; the paper gives means over 3

    # Data
    config.data_dir = ""  # what tools/prepare.py wrote
    config.features = "paper1"
    config.machine_type = ""
    config.machine_id = ""  # empty: one model for all IDs of the type
    config.held_back = (
        0  # normal clips of each ID kept from training, from which a decision threshold is found; paper: 0
    )
    config.window = 5  # frames
    config.hop = 1  # frames between the windows of a clip, in training and scoring

    # Network
    config.widths = (128, 128, 128, 8, 128, 128, 128)  # of the hidden layers
    config.kernel_gain = 2.0  # variance of the weights before training, of Xavier's
    config.bias = 0.01  # before training
    config.batch_norm_momentum = 0.9
    config.batch_norm_epsilon = 1e-5
    config.precision = "float32"  # of activations; or bfloat16. Parameters are float32.

    # Training
    config.batch_size = 512
    config.num_epochs = 100
    config.learning_rate = 1e-4
    config.learning_rate_decay = 1.0  # factor per epoch
    config.beta2 = 0.999  # Adam

    # Housekeeping
    config.steps_per_dispatch = 32  # that the devices take without the host; changes numbers by float rounding only
    config.checkpoint_epochs = 10  # epochs between checkpoints
    config.compilation_cache = "~/.cache/asd_jax"  # empty: compile anew each time

    for word in filter(None, variant.split(",")):
        _apply(config, word)
    return config


def _apply(config: ml_collections.ConfigDict, word: str) -> None:
    match word:
        case "dcase2020_baseline":
            config.features = "dcase2020_baseline"
            config.widths = (128, 128, 128, 128, 8, 128, 128, 128, 128)
            config.kernel_gain = 1.0  # Keras's defaults, as the three below
            config.bias = 0.0
            config.batch_norm_momentum = 0.99
            config.batch_norm_epsilon = 1e-3
            config.learning_rate = 1e-3
        case "quicktest":
            config.num_epochs = 10
            config.learning_rate = 1e-3
            config.held_back = 6
        case _:
            raise ValueError(
                f"Unknown variant {word!r}: expected dcase2020_baseline or quicktest, joined by a comma, or nothing."
            )

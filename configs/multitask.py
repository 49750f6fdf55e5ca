"""Paper 2's detector: an encoder trained on two losses with Mixup, and an inlier model on its embeddings.

    python tools/train.py --config=configs/multitask.py --workdir=runs/fan \
        --config.data_dir=data2 --config.machine_type=fan

The values are those of the paper's text, for the machine types of its Table I those of the table. Words after a colon,
joined by commas, change the recipe: `as_released` takes the values of the authors' code where it differs; `quicktest`
is a reduced network, to see the whole journey work within minutes on a CPU; `without_mixup`, `without_inlier` (no h)
and `only_product_ids` (also the stand-in for the serial method) are the ablations of Table III.
"""

import ml_collections
from ml_collections import config_dict

_TABLE_1 = {
    # learning rate, batch size, lambda, h, p
    "fan": (0.001, 32, 0.1, "gmm", 16),
    "gearbox": (0.001, 128, 10.0, "gmm", 64),
    "pump": (0.001, 128, 10.0, "gmm", 2),
    "valve": (0.0005, 128, 10.0, "gmm", 32),
    "slider": (0.001, 128, 10.0, "gmm", 2),
    "ToyCar": (0.001, 128, 10.0, "lof", 16),
    "ToyTrain": (0.0005, 32, 0.1, "lof", 8),
    "default": (0.001, 32, 1.0, "gmm", 2),  # of types that the paper does not know; our choice
}
_KEYS = ("learning_rate", "batch_size", "product_weight", "inlier", "inlier_p")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The recipe; `variant` is what follows the colon: words joined by commas, or nothing."""
    config = ml_collections.ConfigDict()
    config.method = "multitask"
    config.seed = 0
    config.num_runs = 1
    config.by_machine_type = {kind: dict(zip(_KEYS, row, strict=True)) for kind, row in _TABLE_1.items()}

    # Data
    config.data_dir = ""  # what tools/prepare.py wrote
    config.features = "paper2"
    config.machine_type = ""
    config.machine_id = ""  # product IDs, joined by commas; empty: all of the type
    config.domains = ("source",)  # of the clips to train on and to evaluate
    config.outlier_set = "other_types"  # what the machine loss tells the target type from
    config.num_outliers = config_dict.placeholder(int)  # how many clips of the set; None: all
    config.validation_share = 0.1  # of the clips of every ID; they choose the epoch, and the inlier models fit to them
    config.window = 126  # frames: 2 s

    # Network
    config.width = 1.0  # factor on EfficientNet-B0's channels
    config.depth = 1.0  # factor on its blocks per stage
    config.dropout = 0.3  # of the pooled features
    config.drop_path = 0.0  # of the last block; it grows from 0 with the depth
    config.init_from = ""  # a safetensors file of a published EfficientNet-B0
    config.precision = "float32"  # of activations; or bfloat16. Parameters are float32.
    config.remat = False  # compute activations again for the gradients: less memory, more time

    # Losses and Mixup
    config.machine_weight = 1.0
    config.product_weight = config_dict.placeholder(float)  # lambda; None: Table I's
    config.soft_targets = True  # Eq. 1 weights samples by how much of the target they hold
    config.mixup_alpha = 0.2  # 0: no Mixup
    config.mixup_domain = "log"  # or power
    config.mixup_schedule = "always"  # or falling, rising: the probability that a batch is mixed

    # Training
    config.batch_size = config_dict.placeholder(int)  # half of the target type; None: Table I's
    config.num_epochs = 300
    config.learning_rate = config_dict.placeholder(float)  # at its highest; None: Table I's
    config.weight_decay = 0.0
    config.validation_epochs = 1  # epochs between measurements of the validation loss

    # Scoring
    config.inlier = config_dict.placeholder(str)  # gmm, lof, or none (mean product probability); None: Table I's
    config.inlier_p = config_dict.placeholder(int)  # components or neighbours; None: Table I's

    # Housekeeping
    config.checkpoint_epochs = 5  # epochs between checkpoints
    config.compilation_cache = "~/.cache/asd_jax"  # empty: compile anew each time

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
            config.width = 0.25
            config.depth = 0.4
            config.batch_size = 16
            config.num_epochs = 20
            config.learning_rate = 2e-3
        case _:
            raise ValueError(
                f"Unknown variant {word!r}: expected as_released, quicktest, without_mixup, without_inlier or "
                "only_product_ids, joined by commas."
            )

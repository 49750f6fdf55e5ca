"""Stored log-mels -> trained weights.

clip_features: the features of many clips in one memory.
data: which clips a recipe names, and which it holds back.
epoch_log: metrics of every epoch.
feed: batches on the devices before they are needed.
first_training: the training that follows a preparation, as a command.
input_pipeline: tf.data batches of windows.
loop: the steps, with metrics and checkpoints.
outliers: the sets of proxy outliers.
random_streams: seeds folded from (seed, run, epoch).
run: a training from its recipe to its last checkpoint.
validation: the loss that chooses the best epoch.
windows: clips cut into windows, and these into batches.
"""

"""One program on many devices and hosts, and its state on disk.

checkpoints: checkpoints of single runs.
hosts: several processes that train together.
lost_process: one sentence when one of them is lost.
mesh: runs side by side and split batches.
steps: the state of trainings, and their compiled steps.
stopping: SIGTERM and Ctrl-C during a training.
"""

"""Clips -> stored features, once and resumable.

beam: shards written by Apache Beam.
manifest: what a folder of prepared data holds.
plan: what a preparation has to do.
prepare: planning, computing, committing.
shards: some clips of one machine in one file.
store: the records, as TFDS reads them.
wave_statistics: mean and deviation of the waveforms of a machine type.
"""

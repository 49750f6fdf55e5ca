"""A recording -> waveform -> features.

audio: waveforms of audio files.
audio_files: the audio files below a folder.
device_log_mels: log-mels as a part of a JAX program.
features: what features are.
kernels: the compiled loops of the log-mels.
log_mels: log-mels on the host.
pieces: long sound in pieces, from files and pipes.
presets: the feature presets.
unfinished: audio files whose headers do not say their length.
"""

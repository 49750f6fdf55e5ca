"""A recording -> waveform -> log-mel.

audio: waveforms of audio files.
audio_files: the audio files below a folder.
features: log-mels, and their presets.
kernels: the compiled loops of the log-mels.
pieces: long sound in pieces, from files and pipes.
unfinished: audio files whose headers do not say their length.
"""

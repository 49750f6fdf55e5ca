"""A trained workdir as a program to ship.

device_features: log-mels as a part of a JAX program.
example: how to use an export, without this library.
folder: what an export holds.
litert: the program for LiteRT.
program: waveforms to scores as one JAX function.
"""

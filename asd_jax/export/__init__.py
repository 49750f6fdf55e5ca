"""A trained workdir as a program to ship.

example: how to use an export, without this library.
folder: what an export holds.
litert: the program for LiteRT.
program: waveforms to scores as one JAX function.
"""

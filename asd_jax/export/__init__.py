"""A trained detector as a folder that scores waveforms without this library."""

"""One program on many devices and hosts, and its state on disk."""

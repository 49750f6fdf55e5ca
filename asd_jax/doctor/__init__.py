"""Whether a training can start here: the installation, the machine, the records and the workdir, a line for each.

Every check imports what it needs by itself: a broken package is a line, and the rest is looked at all the same.

examine: everything that is looked at.
finding: one line of it.
folders: caches, disk, clock, records, workdir.
machine: packages, devices, memory, processors.
"""

"""From a config to what it names, and the workdir that keeps it.

build: the method of a recipe, its optimiser and schedule.
keys: configs and recipes: the same keys, checked.
surroundings: versions, devices, and the cache of compiled programs.
workdir: every file of a training by name.
"""

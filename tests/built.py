"""What a config describes, also where it names no data: its method, and a workdir that keeps it."""

from asd_jax.recipes.build import make_method
from asd_jax.recipes.keys import read_recipe
from asd_jax.recipes.workdir import Workdir


def method_of(config, machines=1):
    return make_method(read_recipe(config, complete=False), machines)


def workdir_of(folder, recipe, **changes):
    """A workdir that holds the config of a recipe (`get_config`) for a machine of no data, and nothing else."""
    config = recipe.get_config()
    config.data_dir, config.machine_type = "data", "fan"
    config.update(changes)
    workdir = Workdir(folder)
    workdir.keep_recipe(read_recipe(config))
    return workdir

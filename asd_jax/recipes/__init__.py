"""From a config to what it names: checked keys, the method and its optimiser, and the workdir that keeps them."""

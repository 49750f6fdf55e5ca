"""How fast a recipe trains, reads its input, prepares clips and scores them on the machine at hand."""

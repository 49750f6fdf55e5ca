"""The experiments of both papers: grids of trainings; tables, pictures and verdicts made of what they measured."""

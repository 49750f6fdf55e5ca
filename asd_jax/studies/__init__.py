"""The experiments of both papers: grids of trainings; tables, pictures and verdicts made of what they measured.

claims: what paper 1 says of its results, judged.
encoder_pictures: how encoders place clips.
figures: pictures.
grid: trainings side by side.
paper1: paper 1's experiments.
paper1_pictures: their pictures.
paper1_results: their results and table.
paper2: paper 2's experiments.
paper2_tables: their tables.
published: the papers' figures.
tables: tables on disk.
targets: which machines are measured.
"""

"""Scores of test clips -> results and the challenges' files.

ensemble: several detectors as one.
evaluate: a trained workdir on its test clips.
inlier_grid: how well every inlier model does.
results: measures of score files, as tables and result.csv.
score_files: the challenges' score files.
select_inlier: the inlier model of a workdir, chosen on development machines.
"""

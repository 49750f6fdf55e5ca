"""How well anomaly scores separate anomalous clips from normal ones.

challenge: what a challenge measures of the clips of one score file, and its official score.
file_names: how a challenge's score files are called.
metrics: AUC, pAUC, precision, recall, F1 score, and means.
"""

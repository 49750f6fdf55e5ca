"""Trained weights -> scores of clips, thresholds, decisions.

detector: a workdir as one wants it for new sound.
held_back: scores of normal clips that training did not see.
scorer: networks and backends together.
thresholds: the thresholds that decide on clips.
trained: what the networks give for the windows of clips.
"""

"""Trained weights -> scores of clips, thresholds, decisions."""

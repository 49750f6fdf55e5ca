"""New sound scored.

along_time: long recordings, piece by piece.
follow: a folder that recordings arrive in.
printed: what tools/score.py prints.
recordings: recordings that nobody labelled.
"""

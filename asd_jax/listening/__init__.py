"""New sound scored.

along_time: long recordings, piece by piece.
follow: a folder that recordings arrive in.
one_score: recordings that get one score each.
printed: what tools/score.py prints.
"""

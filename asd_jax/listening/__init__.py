"""New sound scored.

along_time: long recordings, piece by piece.
follow: a folder that recordings arrive in.
recordings: recordings that nobody labelled.
"""

"""How fast a recipe trains, reads its input, prepares clips and scores them on the machine at hand.

input: the input pipeline.
preparing: preparing.
score: scoring.
step: training steps.
timing: timing.
"""

"""Anomalous machine sound detection on accelerators. The packages, in the order of the data:

    base        what every command needs around its work
    sound       a recording -> waveform -> features
    measures    how well scores separate anomalous clips from normal ones
    datasets    what lies on disk: every layout turns a folder into clips
    records     clips -> stored features, once and resumable
    models      networks: arrays in, arrays out
    backends    what scores embeddings
    methods     the systems of the papers, with their recipes
    devices     one program on many devices and hosts, and its state on disk
    recipes     a config, checked and made into a method, and the workdir that keeps it
    training    stored features -> trained weights
    scoring     trained weights -> scores of clips, thresholds, decisions
    evaluation  scores of test clips -> results and the challenges' files
    listening   new sound scored: files, long recordings, a watched folder, a pipe
    export      a trained workdir as a program to ship
    studies     the papers' experiments
    report      a page about trained workdirs, for people
    benchmark   how fast a recipe is on the machine at hand
    doctor      whether a training can start here

A package imports from those above it alone.
"""

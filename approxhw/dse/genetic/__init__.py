"""NSGA-II on islands: evolution, operators, checkpoints, workers on this machine and on a cluster."""

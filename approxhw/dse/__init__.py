"""Design-space exploration of small networks: folds, candidates, fitness, the choice of one, fronts."""

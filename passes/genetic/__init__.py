"""The genetic search over masked power-of-two networks: genome, variation, selection, refinement, checkpoint, workers."""

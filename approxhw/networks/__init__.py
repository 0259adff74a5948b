"""The space of small networks that searches and retraining move in: genome, area model, annealing, retraining."""

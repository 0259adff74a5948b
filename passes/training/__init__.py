"""Retraining of masked power-of-two networks: from a real-valued network, or from genomes whose masks stay."""

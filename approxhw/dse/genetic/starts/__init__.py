"""The starts of a search: retrained, averaged, annealed, and kept on disk."""

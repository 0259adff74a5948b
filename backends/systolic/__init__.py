"""What every weight-stationary array shares: the tiles of a matrix product, templates with their parameters set."""

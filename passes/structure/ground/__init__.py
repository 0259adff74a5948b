"""What passes that change shapes stand on: channels, slices along them, calibration statistics, repair, budgets."""

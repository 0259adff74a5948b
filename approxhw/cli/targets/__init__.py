"""What commands take and do for each target; ``registry`` knows them by name."""

"""What commands take and do for matrix engines."""

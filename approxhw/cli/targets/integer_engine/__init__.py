"""What commands take and do for integer engines."""

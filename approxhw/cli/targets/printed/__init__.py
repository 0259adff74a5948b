"""What commands take and do for printed circuits."""

"""What commands take and do for targets of other packages."""

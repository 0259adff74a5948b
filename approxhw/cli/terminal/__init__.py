"""What people see: results, progress, a search as it runs, and Ctrl-C."""

"""approxhw: trained classifiers in, the cheapest hardware that still does the job out."""

"""Ground that everything stands on: errors, files, arrays, external tools, options, data sets."""

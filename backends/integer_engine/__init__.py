"""Arrays of integer multiply-adds: operators as modules, elements, columns, streams."""

"""A toy package that adds one thing of every sort to approxhw: the example of docs/plugins.md, installed by the tests."""

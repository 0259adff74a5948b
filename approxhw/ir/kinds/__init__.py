"""Node kinds: what each is, means, reads and becomes as text; one file a family."""

"""The search for operators layer by layer: what a layer may have, what it costs and harms, and the problem that it makes."""

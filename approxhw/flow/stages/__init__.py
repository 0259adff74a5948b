"""What every flow is made of: the stages of a target, which targets there are, measuring, and what is told."""

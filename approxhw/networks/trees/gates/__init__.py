"""Trees as gates, and gates that rows do not need taken off them."""

"""8-bit codes with decimal exponents: tables, encoding, choosing one, and operands of engine ports."""

"""Matrix engines in Verilog: array, schedule, words on the ports, 8-bit decoders."""

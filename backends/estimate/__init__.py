"""Area, delay and power of any Verilog: cell libraries, synthesis, netlist simulation."""

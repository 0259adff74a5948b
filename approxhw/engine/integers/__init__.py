"""Integer engines: the target, how the flow serves it, a layer through its Verilog, what it costs."""

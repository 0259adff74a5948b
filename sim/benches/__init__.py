"""The cocotb benches: what runs inside a simulator."""

// Whether any bit of x is 1.
module any_bit #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] x,
  output wire             any
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH any_bit_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  assign any = |x;
endmodule

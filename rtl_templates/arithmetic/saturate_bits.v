// y = overflow ? all ones : x, bit by bit.
module saturate_bits #(
  parameter WIDTH = 1
) (
  input  wire             overflow,
  input  wire [WIDTH-1:0] x,
  output wire [WIDTH-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH saturate_bits_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  assign y = x | {WIDTH{overflow}};
endmodule

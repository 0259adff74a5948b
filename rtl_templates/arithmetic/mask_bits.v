// y = keep ? x : 0, bit by bit: a ReLU where keep is the inverted sign.
module mask_bits #(
  parameter WIDTH = 1
) (
  input  wire             keep,
  input  wire [WIDTH-1:0] x,
  output wire [WIDTH-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH mask_bits_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  assign y = x & {WIDTH{keep}};
endmodule

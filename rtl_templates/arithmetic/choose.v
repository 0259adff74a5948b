// y = take_b ? b : a, bit by bit.
module choose #(
  parameter WIDTH = 1
) (
  input  wire             take_b,
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  output wire [WIDTH-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH choose_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  assign y = (a & {WIDTH{~take_b}}) | (b & {WIDTH{take_b}});
endmodule

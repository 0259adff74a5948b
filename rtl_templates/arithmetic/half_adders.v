// WIDTH half adders side by side: a + b = 2 * carry + sum, bit by bit.
module half_adders #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  output wire [WIDTH-1:0] sum,
  output wire [WIDTH-1:0] carry
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH half_adders_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  assign sum   = a ^ b;
  assign carry = a & b;
endmodule

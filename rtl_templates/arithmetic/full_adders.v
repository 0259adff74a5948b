// WIDTH full adders side by side: a + b + c = 2 * carry + sum, bit by bit.
module full_adders #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  input  wire [WIDTH-1:0] c,
  output wire [WIDTH-1:0] sum,
  output wire [WIDTH-1:0] carry
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH full_adders_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  assign sum   = a ^ b ^ c;
  assign carry = (a & b) | (c & (a ^ b));
endmodule

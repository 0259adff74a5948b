// WIDTH half adders side by side: a + b = 2 * carry + sum, bit by bit.
module half_adders #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  output wire [WIDTH-1:0] sum,
  output wire [WIDTH-1:0] carry
);
  assign sum   = a ^ b;
  assign carry = a & b;
endmodule

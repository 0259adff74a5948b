// WIDTH adders side by side that add a constant one: a + b + 1 = 2 * carry + sum, bit by bit.
module half_adders_plus_one #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  output wire [WIDTH-1:0] sum,
  output wire [WIDTH-1:0] carry
);
  assign sum   = ~(a ^ b);
  assign carry = a | b;
endmodule

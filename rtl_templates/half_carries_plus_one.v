// WIDTH carries of a + b + 1, for columns whose sum bit nothing reads.
module half_carries_plus_one #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  output wire [WIDTH-1:0] carry
);
  assign carry = a | b;
endmodule

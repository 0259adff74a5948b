// WIDTH carries of a + b + c, for columns whose sum bit nothing reads.
module full_carries #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  input  wire [WIDTH-1:0] c,
  output wire [WIDTH-1:0] carry
);
  assign carry = (a & b) | (c & (a | b));
endmodule

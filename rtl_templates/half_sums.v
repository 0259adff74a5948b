// WIDTH sum bits a + b modulo 2, for columns whose carry nothing reads.
module half_sums #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  output wire [WIDTH-1:0] sum
);
  assign sum = a ^ b;
endmodule

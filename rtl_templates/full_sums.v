// WIDTH sum bits a + b + c modulo 2, for columns whose carry nothing reads.
module full_sums #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  input  wire [WIDTH-1:0] c,
  output wire [WIDTH-1:0] sum
);
  assign sum = a ^ b ^ c;
endmodule

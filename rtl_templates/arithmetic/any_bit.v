// Whether any bit of x is 1.
module any_bit #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] x,
  output wire             any
);
  assign any = |x;
endmodule

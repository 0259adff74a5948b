// y = overflow ? all ones : x, bit by bit.
module saturate_bits #(
  parameter WIDTH = 1
) (
  input  wire             overflow,
  input  wire [WIDTH-1:0] x,
  output wire [WIDTH-1:0] y
);
  assign y = x | {WIDTH{overflow}};
endmodule

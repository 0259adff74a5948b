// y = keep ? x : 0, bit by bit: a ReLU where keep is the inverted sign.
module mask_bits #(
  parameter WIDTH = 1
) (
  input  wire             keep,
  input  wire [WIDTH-1:0] x,
  output wire [WIDTH-1:0] y
);
  assign y = x & {WIDTH{keep}};
endmodule

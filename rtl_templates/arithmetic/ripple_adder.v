// 2^WIDTH * carry_out + sum = a + b + carry_in, the carry rippling from the lowest bit up: the fewest cells an adder can have.
module ripple_adder #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  input  wire             carry_in,
  output wire [WIDTH-1:0] sum,
  output wire             carry_out
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH ripple_adder_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  localparam COUNT = WIDTH > 0 ? WIDTH : 1;  // at least 1, so that it is a guard that stops what is less
  genvar i;
  generate
    for (i = 0; i < COUNT; i = i + 1) begin : column
      wire carry;  // out of this column
      if (i == 0) begin : lowest
        assign sum[0] = a[0] ^ b[0] ^ carry_in;
        assign carry  = (a[0] & b[0]) | (carry_in & (a[0] ^ b[0]));
      end else begin : higher
        assign sum[i] = a[i] ^ b[i] ^ column[i-1].carry;
        assign carry  = (a[i] & b[i]) | (column[i-1].carry & (a[i] ^ b[i]));
      end
    end
  endgenerate
  assign carry_out = column[COUNT-1].carry;
endmodule

// Whether unsigned a > b, by a chain of one majority gate a bit, lowest bit first: small before fast.
module greater_than #(
  parameter WIDTH = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  output wire             greater
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH greater_than_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  localparam COUNT = WIDTH > 0 ? WIDTH : 1;  // at least 1, so that it is a guard that stops what is less
  genvar i;
  generate
    for (i = 0; i < COUNT; i = i + 1) begin : column
      wire above;  // whether a[i:0] > b[i:0]
      if (i == 0) begin : lowest
        assign above = a[0] & ~b[0];
      end else begin : higher
        assign above = (a[i] & ~b[i]) | (column[i-1].above & (a[i] | ~b[i]));
      end
    end
  endgenerate
  assign greater = column[COUNT-1].above;
endmodule

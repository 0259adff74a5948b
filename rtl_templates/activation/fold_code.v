// u = x where x >= 0, else -x (INVERTED: -x - 1), at most the highest code; negative: whether x < 0. x: two's complement.
module fold_code #(
  parameter IN       = 8,
  parameter INVERTED = 0
) (
  input  wire [IN-1:0] x,
  output wire [IN-2:0] u,
  output wire          negative
);
  generate  // what the module is not made for stops elaboration
    if (IN < 2 || IN > 16) begin : refuse_IN fold_code_needs_IN_from_2_to_16 stop (); end
    if (INVERTED < 0 || INVERTED > 1) begin : refuse_INVERTED fold_code_needs_INVERTED_0_or_1 stop (); end
  endgenerate
  wire [IN-2:0] turned;
  wire          one_more;  // the lowest code stays at the highest one
  assign negative = x[IN-1];
  assign turned   = x[IN-2:0] ^ {(IN-1){negative}};
  assign one_more = INVERTED == 0 && negative && turned != {(IN-1){1'b1}};
  assign u        = turned + {{(IN-2){1'b0}}, one_more};
endmodule

// y[i] = e[i] * 2^OUT / (sum of all e), rounded down, at most 2^OUT - 1: COUNT unsigned codes, code 0 in the lowest bits. The sum
// is greater than 0, and has SUM bits.
module row_shares #(
  parameter COUNT  = 4,
  parameter A_BITS = 8,
  parameter SUM    = 10,
  parameter OUT    = 8
) (
  input  wire [COUNT*A_BITS-1:0] e,
  output wire [COUNT*OUT-1:0]    y
);
  generate  // what the module is not made for stops elaboration
    if (COUNT < 1) begin : refuse_COUNT row_shares_needs_COUNT_of_1_or_more stop (); end
    if (A_BITS < 1) begin : refuse_A_BITS row_shares_needs_A_BITS_of_1_or_more stop (); end
    if (SUM <= A_BITS) begin : refuse_SUM row_shares_needs_SUM_above_A_BITS stop (); end
    if (OUT < 1) begin : refuse_OUT row_shares_needs_OUT_of_1_or_more stop (); end
  endgenerate
  localparam ROW = COUNT > 0 ? COUNT : 1;  // at least 1, so that it is a guard that stops what is less
  genvar i;
  generate
    for (i = 0; i < ROW; i = i + 1) begin : code
      wire [SUM-1:0] share;
      wire [SUM-1:0] sum;  // of this code and those before
      wire [OUT:0]     quotient;
      assign share = {{(SUM-A_BITS){1'b0}}, e[A_BITS*i +: A_BITS]};
      if (i == 0) begin : first
        assign sum = share;
      end else begin : further
        assign sum = code[i-1].sum + share;
      end
      floor_divide #(.A_BITS(SUM+OUT), .D_BITS(SUM), .OUT(OUT+1)) divide (
        .a({share, {OUT{1'b0}}}),
        .d(code[ROW-1].sum),
        .y(quotient)
      );
      assign y[OUT*i +: OUT] = quotient[OUT-1:0] | {OUT{quotient[OUT]}};
    end
  endgenerate
endmodule

// The DIGITS bits of |x| from its leading 1 on, the last of them taken as 1 where bits behind them are left out, and how many
// those are. SIGNED: whether x is two's complement.
module leading_digits #(
  parameter BITS   = 8,
  parameter SIGNED = 1,
  parameter DIGITS = 4
) (
  input  wire [BITS-1:0]   x,
  output wire [DIGITS-1:0] digits,
  output wire [4:0]        behind,
  output wire              negative
);
  generate  // what the module is not made for stops elaboration
    if (DIGITS < 2) begin : refuse_DIGITS leading_digits_needs_DIGITS_of_2_or_more stop (); end
    if (BITS <= DIGITS || BITS > 30) begin : refuse_BITS leading_digits_needs_BITS_above_DIGITS_and_at_most_30 stop (); end
    if (SIGNED < 0 || SIGNED > 1) begin : refuse_SIGNED leading_digits_needs_SIGNED_0_or_1 stop (); end
  endgenerate
  localparam COUNT = BITS > DIGITS ? BITS - DIGITS : 1;  // of the places at which bits are left out
  wire [BITS-1:0] magnitude;
  genvar i;
  generate
    if (SIGNED) begin : of_signed
      assign negative  = x[BITS-1];
      assign magnitude = negative ? ~x + {{(BITS-1){1'b0}}, 1'b1} : x;
    end else begin : of_unsigned
      assign negative  = 1'b0;
      assign magnitude = x;
    end
    for (i = 0; i <= COUNT; i = i + 1) begin : at  // the leading 1 is in bit DIGITS - 1 + i, or below
      wire [DIGITS-1:0] kept;
      wire [4:0]        left;
      if (i == 0) begin : lowest
        assign kept = magnitude[DIGITS-1:0];
        assign left = 5'd0;
      end else begin : higher
        assign kept = magnitude[DIGITS-1+i] ? {magnitude[DIGITS-1+i-:DIGITS-1], 1'b1} : at[i-1].kept;
        assign left = magnitude[DIGITS-1+i] ? i : at[i-1].left;
      end
    end
  endgenerate
  assign digits = at[COUNT].kept;
  assign behind = at[COUNT].left;
endmodule

// y = a * b by adding binary logarithms, log2(1 + f) taken as f; signs are put aside. A_SIGNED, B_SIGNED: whether an operand
// is two's complement. BALANCED: 5/64 of the product of the leading ones is added, which y has a bit more for.
// Sources: Mitchell, Computer Multiplication and Division Using Binary Logarithms, IRE Transactions, 1962; Saadat et al.,
// Minimally Biased Multipliers, IEEE TCAD, 2018.
module logarithmic_multiplier #(
  parameter A_BITS = 8,
  parameter B_BITS = 4,
  parameter A_SIGNED = 1,
  parameter B_SIGNED = 0,
  parameter BALANCED = 0
) (
  input  wire [A_BITS-1:0]                 a,
  input  wire [B_BITS-1:0]                 b,
  output wire [A_BITS+B_BITS+BALANCED-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (A_BITS < 1) begin : refuse_A_BITS logarithmic_multiplier_needs_A_BITS_of_1_or_more stop (); end
    if (B_BITS < 1 || A_BITS + B_BITS > 30) begin : refuse_B_BITS
      logarithmic_multiplier_needs_B_BITS_of_1_or_more_and_at_most_30_with_A_BITS stop ();
    end
    if (A_SIGNED < 0 || A_SIGNED > 1) begin : refuse_A_SIGNED logarithmic_multiplier_needs_A_SIGNED_0_or_1 stop (); end
    if (B_SIGNED < 0 || B_SIGNED > 1) begin : refuse_B_SIGNED logarithmic_multiplier_needs_B_SIGNED_0_or_1 stop (); end
    if (BALANCED < 0 || BALANCED > 1) begin : refuse_BALANCED logarithmic_multiplier_needs_BALANCED_0_or_1 stop (); end
  endgenerate
  localparam COUNT_A = A_BITS > 0 ? A_BITS : 1;  // at least 1, so that it is a guard that stops what is less
  localparam COUNT_B = B_BITS > 0 ? B_BITS : 1;
  localparam BITS = A_BITS + B_BITS;  // of the product, at most 30
  localparam LOG  = 5;                // bits of a sum of two logarithms, two and a carry
  wire [A_BITS-1:0] magnitude_a;
  wire [B_BITS-1:0] magnitude_b;
  wire              below_a;  // a is less than 0
  wire              below_b;
  genvar i;
  generate
    if (A_SIGNED) begin : a_signed
      assign below_a     = a[A_BITS-1];
      assign magnitude_a = below_a ? ~a + {{(A_BITS-1){1'b0}}, 1'b1} : a;
    end else begin : a_unsigned
      assign below_a     = 1'b0;
      assign magnitude_a = a;
    end
    if (B_SIGNED) begin : b_signed
      assign below_b     = b[B_BITS-1];
      assign magnitude_b = below_b ? ~b + {{(B_BITS-1){1'b0}}, 1'b1} : b;
    end else begin : b_unsigned
      assign below_b     = 1'b0;
      assign magnitude_b = b;
    end
    // the highest 1 wins: its place is the logarithm; shifted to the top it is the 1 of 1 + f
    for (i = 0; i < COUNT_A; i = i + 1) begin : of_a
      wire [LOG-1:0]  place;
      wire [BITS-1:0] mantissa;
      if (i == 0) begin : lowest
        assign place    = {LOG{1'b0}};
        assign mantissa = {{(BITS-1){1'b0}}, magnitude_a[0]} << (BITS - 1);
      end else begin : higher
        assign place    = magnitude_a[i] ? i : of_a[i-1].place;
        assign mantissa = magnitude_a[i] ? {{B_BITS{1'b0}}, magnitude_a} << (BITS - 1 - i) : of_a[i-1].mantissa;
      end
    end
    for (i = 0; i < COUNT_B; i = i + 1) begin : of_b
      wire [LOG-1:0]  place;
      wire [BITS-1:0] mantissa;
      if (i == 0) begin : lowest
        assign place    = {LOG{1'b0}};
        assign mantissa = {{(BITS-1){1'b0}}, magnitude_b[0]} << (BITS - 1);
      end else begin : higher
        assign place    = magnitude_b[i] ? i : of_b[i-1].place;
        assign mantissa = magnitude_b[i] ? {{A_BITS{1'b0}}, magnitude_b} << (BITS - 1 - i) : of_b[i-1].mantissa;
      end
    end
  endgenerate
  wire [LOG+BITS-2:0] log_a;
  wire [LOG+BITS-2:0] log_b;
  wire [LOG+BITS-2:0] log_y;  // 2 + the logarithm of the product, and its fraction
  assign log_a = {of_a[COUNT_A-1].place, {(BITS-1){1'b0}}} + {{(LOG-1){1'b0}}, of_a[COUNT_A-1].mantissa};
  assign log_b = {of_b[COUNT_B-1].place, {(BITS-1){1'b0}}} + {{(LOG-1){1'b0}}, of_b[COUNT_B-1].mantissa};
  assign log_y = log_a + log_b;
  wire [BITS-1:0] product;
  wire            zero;
  wire            negative;
  assign product  = {1'b1, log_y[BITS-2:0]} >> (BITS + 1 - log_y[LOG+BITS-2:BITS-1]);
  assign zero     = ~(|a & |b);
  assign negative = (below_a ^ below_b) & ~zero;
  wire [BITS+BALANCED-1:0] magnitude;
  generate
    if (BALANCED && BITS >= 4) begin : balanced
      wire [LOG-1:0] ones;   // the logarithm of the product of the leading ones
      wire [BITS:0]  share;  // 5/64 of that product: 4/64 and 1/64, each a bit where it is not less than 1
      assign ones = of_a[COUNT_A-1].place + of_b[COUNT_B-1].place;
      for (i = 0; i <= BITS; i = i + 1) begin : column
        if (i + 6 <= BITS) begin : of_two
          assign share[i] = (ones == i + 4) | (ones == i + 6);
        end else if (i + 4 <= BITS) begin : of_one
          assign share[i] = (ones == i + 4);
        end else begin : of_none
          assign share[i] = 1'b0;
        end
      end
      assign magnitude = {1'b0, product} + share;
    end else if (BALANCED) begin : too_narrow  // 5/64 of it is less than 1
      assign magnitude = {1'b0, product};
    end else begin : plain
      assign magnitude = product;
    end
  endgenerate
  assign y = ((magnitude & {(BITS+BALANCED){~zero}}) ^ {(BITS+BALANCED){negative}})
           + {{(BITS+BALANCED-1){1'b0}}, negative};
endmodule

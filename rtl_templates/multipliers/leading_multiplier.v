// y = a * b of the DIGITS bits of each magnitude from its leading 1 on, the last of them taken as 1 where bits are left out.
// A_SIGNED, B_SIGNED: whether an operand is two's complement; signs are put aside. Source: Hashemi, Bahar, Reda, DRUM: A
// Dynamic Range Unbiased Multiplier, ICCAD 2015.
module leading_multiplier #(
  parameter A_BITS   = 8,
  parameter B_BITS   = 8,
  parameter A_SIGNED = 1,
  parameter B_SIGNED = 1,
  parameter DIGITS   = 4
) (
  input  wire [A_BITS-1:0]      a,
  input  wire [B_BITS-1:0]      b,
  output wire [A_BITS+B_BITS:0] y
);
  generate  // what the module is not made for stops elaboration
    if (DIGITS < 2) begin : refuse_DIGITS leading_multiplier_needs_DIGITS_of_2_or_more stop (); end
    if (A_BITS <= DIGITS) begin : refuse_A_BITS leading_multiplier_needs_A_BITS_above_DIGITS stop (); end
    if (B_BITS <= DIGITS || A_BITS + B_BITS > 30) begin : refuse_B_BITS
      leading_multiplier_needs_B_BITS_above_DIGITS_and_at_most_30_with_A_BITS stop ();
    end
    if (A_SIGNED < 0 || A_SIGNED > 1) begin : refuse_A_SIGNED leading_multiplier_needs_A_SIGNED_0_or_1 stop (); end
    if (B_SIGNED < 0 || B_SIGNED > 1) begin : refuse_B_SIGNED leading_multiplier_needs_B_SIGNED_0_or_1 stop (); end
  endgenerate
  wire [DIGITS-1:0] digits_a;
  wire [DIGITS-1:0] digits_b;
  wire [4:0]        behind_a;  // bits that are left out
  wire [4:0]        behind_b;
  wire              below_a;
  wire              below_b;
  leading_digits #(.BITS(A_BITS), .SIGNED(A_SIGNED), .DIGITS(DIGITS)) of_a (
    .x(a),
    .digits(digits_a),
    .behind(behind_a),
    .negative(below_a)
  );
  leading_digits #(.BITS(B_BITS), .SIGNED(B_SIGNED), .DIGITS(DIGITS)) of_b (
    .x(b),
    .digits(digits_b),
    .behind(behind_b),
    .negative(below_b)
  );
  wire [2*DIGITS-1:0]    product;
  wire [4:0]             behind;
  wire [A_BITS+B_BITS:0] magnitude;
  wire                   negative;
  assign product   = {{DIGITS{1'b0}}, digits_a} * {{DIGITS{1'b0}}, digits_b};
  assign behind    = behind_a + behind_b;
  assign magnitude = {{(A_BITS+B_BITS-2*DIGITS+1){1'b0}}, product} << behind;
  assign negative  = (below_a ^ below_b) & (|product);
  assign y         = (magnitude ^ {(A_BITS+B_BITS+1){negative}}) + {{(A_BITS+B_BITS){1'b0}}, negative};
endmodule

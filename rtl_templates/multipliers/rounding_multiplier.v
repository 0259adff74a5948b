// y = r * |b| + |a| * s - r * s with the sign of a * b, r and s the powers of two nearest to |a| and |b|: shifts and sums alone.
// A_SIGNED, B_SIGNED: whether an operand is two's complement. Source: Zendegani et al., RoBA Multiplier, IEEE TVLSI, 2017.
module rounding_multiplier #(
  parameter A_BITS   = 8,
  parameter B_BITS   = 8,
  parameter A_SIGNED = 1,
  parameter B_SIGNED = 1
) (
  input  wire [A_BITS-1:0]        a,
  input  wire [B_BITS-1:0]        b,
  output wire [A_BITS+B_BITS-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (A_BITS < 2) begin : refuse_A_BITS rounding_multiplier_needs_A_BITS_of_2_or_more stop (); end
    if (B_BITS < 2 || A_BITS + B_BITS > 30) begin : refuse_B_BITS
      rounding_multiplier_needs_B_BITS_of_2_or_more_and_at_most_30_with_A_BITS stop ();
    end
    if (A_SIGNED < 0 || A_SIGNED > 1) begin : refuse_A_SIGNED rounding_multiplier_needs_A_SIGNED_0_or_1 stop (); end
    if (B_SIGNED < 0 || B_SIGNED > 1) begin : refuse_B_SIGNED rounding_multiplier_needs_B_SIGNED_0_or_1 stop (); end
  endgenerate
  localparam BITS = A_BITS + B_BITS;
  wire [A_BITS-1:0] magnitude_a;
  wire [B_BITS-1:0] magnitude_b;
  wire [4:0]        place_a;  // r is 2^place_a
  wire [4:0]        place_b;
  wire              below_a;
  wire              below_b;
  nearest_power #(.BITS(A_BITS), .SIGNED(A_SIGNED)) of_a (
    .x(a),
    .magnitude(magnitude_a),
    .place(place_a),
    .negative(below_a)
  );
  nearest_power #(.BITS(B_BITS), .SIGNED(B_SIGNED)) of_b (
    .x(b),
    .magnitude(magnitude_b),
    .place(place_b),
    .negative(below_b)
  );
  wire [BITS-1:0] magnitude;  // modulo 2^BITS
  wire            something;
  wire            negative;
  wire [4:0]      both;
  assign both      = place_a + place_b;
  assign magnitude = ({{A_BITS{1'b0}}, magnitude_b} << place_a) + ({{B_BITS{1'b0}}, magnitude_a} << place_b)
                   - ({{(BITS-1){1'b0}}, 1'b1} << both);
  assign something = (|a) & (|b);
  assign negative  = below_a ^ below_b;
  assign y         = ((magnitude ^ {BITS{negative}}) + {{(BITS-1){1'b0}}, negative}) & {BITS{something}};
endmodule

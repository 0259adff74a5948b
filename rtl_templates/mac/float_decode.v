// A floating-point code to an operand of mac_multiply, {sign, number, exponent, fraction}, once at the array's edge for all.
// number: finite and not 0; the value is then 1.fraction * 2^exponent, exponent unbiased and in two's complement. Else the
// two upper bits of fraction say what it is: 00 zero, 10 infinity, 11 not a number.
// INFINITY: all ones in the exponent mean infinity (fraction 0) or nan, as in IEEE 754; without, all ones in all is nan.
// SUBNORMALS: they are normalised exactly; without, they read as zero of the same sign.
module float_decode #(
  parameter EXPONENT_BITS         = 8,
  parameter FRACTION_BITS         = 7,
  parameter INFINITY              = 1,
  parameter SUBNORMALS            = 0,
  parameter OPERAND_EXPONENT_BITS = 8
) (
  input  wire [EXPONENT_BITS+FRACTION_BITS:0]           code,
  output wire [OPERAND_EXPONENT_BITS+FRACTION_BITS+1:0] operand
);
  generate  // what the module is not made for stops elaboration
    if (EXPONENT_BITS < 2 || EXPONENT_BITS > 8) begin : refuse_EXPONENT_BITS
      float_decode_needs_EXPONENT_BITS_from_2_to_8 stop ();
    end
    if (FRACTION_BITS < 2 || FRACTION_BITS > 15) begin : refuse_FRACTION_BITS
      float_decode_needs_FRACTION_BITS_from_2_to_15 stop ();
    end
    if (INFINITY < 0 || INFINITY > 1) begin : refuse_INFINITY float_decode_needs_INFINITY_0_or_1 stop (); end
    if (SUBNORMALS < 0 || SUBNORMALS > 1) begin : refuse_SUBNORMALS float_decode_needs_SUBNORMALS_0_or_1 stop (); end
    if (OPERAND_EXPONENT_BITS < EXPONENT_BITS + (INFINITY == 0) || OPERAND_EXPONENT_BITS > 8) begin : refuse_operands
      float_decode_needs_OPERAND_EXPONENT_BITS_that_hold_all_up_to_8 stop ();
    end
    if (SUBNORMALS != 0 && (1 << OPERAND_EXPONENT_BITS) < (1 << EXPONENT_BITS) + 2 * FRACTION_BITS - 4) begin : refuse_gradual
      float_decode_needs_OPERAND_EXPONENT_BITS_that_hold_subnormals stop ();
    end
  endgenerate
  localparam X     = OPERAND_EXPONENT_BITS;
  localparam F     = FRACTION_BITS;
  localparam BIAS  = (1 << (EXPONENT_BITS - 1)) - 1;
  wire [EXPONENT_BITS-1:0] biased;
  wire [F-1:0]             fraction;
  assign biased   = code[EXPONENT_BITS+F-1:F];
  assign fraction = code[F-1:0];
  wire is_nan;
  wire is_infinity;
  generate
    if (INFINITY) begin : ieee
      assign is_nan      = &biased & (|fraction);
      assign is_infinity = &biased & ~(|fraction);
    end else begin : finite
      assign is_nan      = &biased & (&fraction);
      assign is_infinity = 1'b0;
    end
  endgenerate
  wire         is_number;
  wire [X-1:0] exponent;
  wire [F-1:0] tail;  // of a number: the fraction behind its leading 1
  genvar i;
  generate
    if (SUBNORMALS) begin : gradual
      wire is_normal;
      assign is_normal = |biased;
      for (i = 0; i < F; i = i + 1) begin : place  // the highest 1 wins
        localparam [31:0] EXPONENT = 1 - BIAS - (F - i);
        wire [X-1:0] e;
        wire [F-1:0] f;
        if (i == 0) begin : lowest
          assign e = EXPONENT[X-1:0];
          assign f = {F{1'b0}};
        end else begin : higher
          assign e = fraction[i] ? EXPONENT[X-1:0] : place[i-1].e;
          assign f = fraction[i] ? fraction << (F - i) : place[i-1].f;
        end
      end
      localparam [31:0] OFFSET = BIAS;
      assign exponent  = is_normal ? {{(X-EXPONENT_BITS){1'b0}}, biased} - OFFSET[X-1:0] : place[F-1].e;
      assign tail      = is_normal ? fraction : place[F-1].f;
      assign is_number = (is_normal | (|fraction)) & ~is_nan & ~is_infinity;
    end else begin : flushed
      localparam [31:0] OFFSET = BIAS;
      assign exponent  = {{(X-EXPONENT_BITS){1'b0}}, biased} - OFFSET[X-1:0];
      assign tail      = fraction;
      assign is_number = |biased & ~is_nan & ~is_infinity;
    end
  endgenerate
  wire [F-1:0] kind;
  assign kind    = {is_nan | is_infinity, is_nan, {(F-2){1'b0}}};
  assign operand = {code[EXPONENT_BITS+F], is_number, exponent, is_number ? tail : kind};
endmodule

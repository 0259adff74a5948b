// One cell of the array: state_out = state_in + weight * operand, normalised. The operand passes to the east in one clock,
// the state to the south; load keeps the operand that is here now as the weight.
// DEPTH, the same registers whatever the normalizer is (besides the weight's, the operand's and that of state_out):
//   1  none: multiply, align, add, normalize in one clock
//   2  multiply, align | add, normalize
//   3  multiply | align | add, normalize
//   4  multiply | align | add | normalize
// STEP: exponents of states are multiples of it, and products are added as they stand; 0: any, and a product is normalised.
// state_in belongs to the operand in this cell's register (DEPTH 1 and 2), or to the one before it (3 and 4).
module mac_element #(
  parameter EXPONENT_BITS = 8,
  parameter FRACTION_BITS = 7,
  parameter W             = 20,
  parameter ALIGN         = 5,
  parameter STEP          = 0,
  parameter EXACT         = 0,
  parameter K             = 1,
  parameter L             = 2,
  parameter DEPTH         = 2,
  parameter FAST          = 0
) (
  input  wire                                   clock,
  input  wire                                   load,
  input  wire [EXPONENT_BITS+FRACTION_BITS+1:0] operand_in,
  output reg  [EXPONENT_BITS+FRACTION_BITS+1:0] operand_out,
  input  wire [W+12:0]                          state_in,
  output reg  [W+12:0]                          state_out
);
  generate  // what the module is not made for stops elaboration
    if (EXPONENT_BITS < 2 || EXPONENT_BITS > 8) begin : refuse_EXPONENT_BITS
      mac_element_needs_EXPONENT_BITS_from_2_to_8 stop ();
    end
    if (FRACTION_BITS < 2 || FRACTION_BITS > 15) begin : refuse_FRACTION_BITS
      mac_element_needs_FRACTION_BITS_from_2_to_15 stop ();
    end
    if (W < 2 * FRACTION_BITS + 2 || W > 32) begin : refuse_W mac_element_needs_W_from_2_FRACTION_BITS_plus_2_to_32 stop (); end
    if (ALIGN < 1 || ALIGN > 5) begin : refuse_ALIGN mac_element_needs_ALIGN_from_1_to_5 stop (); end
    if (STEP < 0 || STEP == 3 || STEP > 4) begin : refuse_STEP mac_element_needs_STEP_0_1_2_or_4 stop (); end
    if (EXACT < 0 || EXACT > 1) begin : refuse_EXACT mac_element_needs_EXACT_0_or_1 stop (); end
    if (K < 0) begin : refuse_K mac_element_needs_K_of_0_or_more stop (); end
    if (L < 0) begin : refuse_L mac_element_needs_L_of_0_or_more stop (); end
    if (K + L >= W) begin : refuse_K_and_L mac_element_needs_K_plus_L_below_W stop (); end
    if (DEPTH < 1 || DEPTH > 4) begin : refuse_DEPTH mac_element_needs_DEPTH_from_1_to_4 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST mac_element_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam P      = 2 * FRACTION_BITS + 2;
  localparam M      = P + EXPONENT_BITS + 5;  // bits between multiply and align
  localparam A      = 2 * W + 16;             // between align and add
  localparam N      = W + 16;                 // between add and normalize
  localparam STRIDE = STEP == 0 ? 1 : STEP;   // of what a sum is shifted by

  reg [EXPONENT_BITS+FRACTION_BITS+1:0] weight;
  always @(posedge clock) begin
    operand_out <= operand_in;
    if (load) weight <= operand_out;
  end

  wire [P-1:0]           product;
  wire [EXPONENT_BITS:0] product_exponent;
  wire                   product_sign;
  wire                   product_zero;
  wire                   product_nan;
  wire                   product_infinity;
  mac_multiply #(.EXPONENT_BITS(EXPONENT_BITS), .FRACTION_BITS(FRACTION_BITS), .FAST(FAST)) multiply (
    .a(operand_out),
    .b(weight),
    .product(product),
    .exponent(product_exponent),
    .sign(product_sign),
    .zero(product_zero),
    .nan(product_nan),
    .infinity(product_infinity)
  );
  wire [M-1:0] multiplied;
  wire [M-1:0] to_align;
  assign multiplied = {product, product_exponent, product_sign, product_zero, product_nan, product_infinity};
  generate
    if (DEPTH > 2) begin : after_multiply
      reg [M-1:0] held;
      always @(posedge clock) held <= multiplied;
      assign to_align = held;
    end else begin : through_multiply
      assign to_align = multiplied;
    end
  endgenerate

  wire [W-1:0] larger;
  wire [W-1:0] smaller;
  wire [9:0]   base;  // E' is base + above
  wire         above;
  wire         negative;
  wire         subtract;
  wire         both_zero;
  wire         nan;
  wire         infinity;
  generate
    if (STEP != 0) begin : by_steps
      mac_align_by #(
        .EXPONENT_BITS(EXPONENT_BITS),
        .FRACTION_BITS(FRACTION_BITS),
        .W(W),
        .STEP(STEP),
        .ALIGN(ALIGN),
        .FAST(FAST)
      ) align (
        .product(to_align[M-1-:P]),
        .product_exponent(to_align[4+:EXPONENT_BITS+1]),
        .product_sign(to_align[3]),
        .product_zero(to_align[2]),
        .product_nan(to_align[1]),
        .product_infinity(to_align[0]),
        .state(state_in),
        .larger(larger),
        .smaller(smaller),
        .exponent(base),
        .negative(negative),
        .subtract(subtract),
        .both_zero(both_zero),
        .nan(nan),
        .infinity(infinity)
      );
      assign above = 1'b0;
    end else begin : closely
      mac_align #(
        .EXPONENT_BITS(EXPONENT_BITS),
        .FRACTION_BITS(FRACTION_BITS),
        .W(W),
        .ALIGN(ALIGN),
        .FAST(FAST)
      ) align (
        .product(to_align[M-1-:P]),
        .product_exponent(to_align[4+:EXPONENT_BITS+1]),
        .product_sign(to_align[3]),
        .product_zero(to_align[2]),
        .product_nan(to_align[1]),
        .product_infinity(to_align[0]),
        .state(state_in),
        .larger(larger),
        .smaller(smaller),
        .exponent(base),
        .above(above),
        .negative(negative),
        .subtract(subtract),
        .both_zero(both_zero),
        .nan(nan),
        .infinity(infinity)
      );
    end
  endgenerate
  // FAST: inverted before the register, where time is left: one bit that turns W others is slow
  wire [A-1:0] aligned;
  wire [A-1:0] to_add;
  wire [W-1:0] early;
  wire [W-1:0] late;
  assign early   = {W{subtract & (FAST != 0)}};
  assign late    = {W{to_add[1] & (FAST == 0)}};
  assign aligned = {larger, smaller ^ early, base, above, nan, infinity, negative, subtract, both_zero};
  generate
    if (DEPTH > 1) begin : after_align
      reg [A-1:0] held;
      always @(posedge clock) held <= aligned;
      assign to_add = held;
    end else begin : through_align
      assign to_add = aligned;
    end
  endgenerate

  wire [W:0] sum;
  wire       sign;
  wire       zero;
  mac_add #(.W(W), .FAST(FAST)) add (
    .larger(to_add[A-1-:W]),
    .addend(to_add[A-1-W-:W] ^ late),
    .negative(to_add[2]),
    .subtract(to_add[1]),
    .both_zero(to_add[0]),
    .sum(sum),
    .sign(sign),
    .zero(zero)
  );
  wire [N-1:0] added;
  wire [N-1:0] to_normalize;
  assign added = {sum, zero, sign, to_add[15:3]};
  generate
    if (DEPTH > 3) begin : after_add
      reg [N-1:0] held;
      always @(posedge clock) held <= added;
      assign to_normalize = held;
    end else begin : through_add
      assign to_normalize = added;
    end
  endgenerate

  wire [W-1:0] significand;
  wire [9:0]   exponent;
  generate
    if (EXACT) begin : exact
      normalize_exact #(.W(W), .STEP(STRIDE), .FAST(FAST)) normalize (
        .sum(to_normalize[N-1-:W+1]),
        .zero(to_normalize[14]),
        .exponent(to_normalize[12:3]),
        .above(to_normalize[2]),
        .significand(significand),
        .result_exponent(exponent)
      );
    end else begin : approximate
      normalize_approximate #(.W(W), .STEP(STRIDE), .K(K), .L(L), .FAST(FAST)) normalize (
        .sum(to_normalize[N-1-:W+1]),
        .zero(to_normalize[14]),
        .exponent(to_normalize[12:3]),
        .above(to_normalize[2]),
        .significand(significand),
        .result_exponent(exponent)
      );
    end
  endgenerate
  always @(posedge clock) state_out <= {to_normalize[1:0], to_normalize[13], exponent, significand};
endmodule

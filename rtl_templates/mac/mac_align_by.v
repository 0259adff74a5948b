// mac_align where exponents of products and states are multiples of STEP, 1, 2 or 4. A significand has STEP + 1 integer
// bits, so a product fits as it stands, whatever it is; it goes right by STEP - 1 - (exponent mod STEP), which is known as
// early as its exponent is, and everything else moves by multiples of STEP. The larger exponent is E' itself.
// subtract, negative, both_zero: as in mac_align. ALIGN: bits of distance; what has to go 2^ALIGN farther than STEP (a
// product) or 2^ALIGN (a state) is 0. 5 is exact for every W up to 32.
module mac_align_by #(
  parameter EXPONENT_BITS = 8,
  parameter FRACTION_BITS = 7,
  parameter W             = 20,
  parameter STEP          = 4,
  parameter ALIGN         = 5,
  parameter FAST          = 0
) (
  input  wire [2*FRACTION_BITS+1:0] product,
  input  wire [EXPONENT_BITS:0]     product_exponent,
  input  wire                       product_sign,
  input  wire                       product_zero,
  input  wire                       product_nan,
  input  wire                       product_infinity,
  input  wire [W+12:0]              state,
  output wire [W-1:0]               larger,
  output wire [W-1:0]               smaller,
  output wire [9:0]                 exponent,
  output wire                       negative,
  output wire                       subtract,
  output wire                       both_zero,
  output wire                       nan,
  output wire                       infinity
);
  generate  // what the module is not made for stops elaboration
    if (EXPONENT_BITS < 2 || EXPONENT_BITS > 8) begin : refuse_EXPONENT_BITS
      mac_align_by_needs_EXPONENT_BITS_from_2_to_8 stop ();
    end
    if (FRACTION_BITS < 2 || FRACTION_BITS > 15) begin : refuse_FRACTION_BITS
      mac_align_by_needs_FRACTION_BITS_from_2_to_15 stop ();
    end
    if (W < 2 * FRACTION_BITS + 2 || W > 32) begin : refuse_W mac_align_by_needs_W_from_2_FRACTION_BITS_plus_2_to_32 stop (); end
    if (STEP != 1 && STEP != 2 && STEP != 4) begin : refuse_STEP mac_align_by_needs_STEP_1_2_or_4 stop (); end
    if (ALIGN < 1 || ALIGN > 5 || (1 << ALIGN) < STEP) begin : refuse_ALIGN
      mac_align_by_needs_ALIGN_to_5_that_holds_STEP stop ();
    end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST mac_align_by_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam P = 2 * FRACTION_BITS + 2;               // bits of the product
  localparam S = STEP == 4 ? 2 : STEP == 2 ? 1 : 0;   // bits of an exponent that are always 0
  localparam U = 10 - S;
  wire         state_nan;
  wire         state_infinity;
  wire         state_sign;
  wire [9:0]   state_exponent;
  wire [W-1:0] state_significand;
  assign {state_nan, state_infinity, state_sign, state_exponent, state_significand} = state;

  // distance = state's exponent - product's exponent - 1, in units of STEP
  wire [9:0] e;
  wire [U:0] distance;
  assign e = {{(9-EXPONENT_BITS){product_exponent[EXPONENT_BITS]}}, product_exponent};
  mac_adder #(.WIDTH(U + 1), .FAST(FAST)) compare (
    .a({state_exponent[9], state_exponent[9:S]}),
    .b({~e[9], ~e[9:S]}),
    .carry_in(1'b0),
    .sum(distance)
  );

  wire [W-1:0] p;
  generate
    if (W > P) begin : padded
      assign p = {product, {(W-P){1'b0}}};
    end else begin : full
      assign p = product;
    end
  endgenerate
  wire [W-1:0] placed;
  generate
    if (STEP == 4) begin : by_four
      wire [W-1:0] half;
      assign half   = e[1] ? p : p >> 2;
      assign placed = e[0] ? half : half >> 1;
    end else if (STEP == 2) begin : by_two
      assign placed = e[0] ? p : p >> 1;
    end else begin : by_one
      assign placed = p;
    end
  endgenerate

  // Not negative: the product goes right, by distance and one more; negative: the state does, by ~distance.
  wire         lower;  // the product
  wire [U-1:0] steps;
  assign lower  = product_zero | ~distance[U];
  assign larger = lower ? state_significand : placed;
  assign steps  = distance[U-1:0] ^ {U{distance[U]}};
  genvar i;
  generate
    for (i = S; i <= ALIGN; i = i + 1) begin : stage  // has gone by the bits of steps below i - S
      wire [W-1:0] word;
      if (i == S) begin : first
        assign word = lower ? placed >> STEP : state_significand;
      end else begin : further
        assign word = steps[i-1-S] ? stage[i-1].word >> (1 << (i - 1)) : stage[i-1].word;
      end
    end
  endgenerate
  assign smaller = stage[ALIGN].word & {W{~(|steps[U-1:ALIGN-S])}};

  generate
    if (S > 0) begin : multiples
      wire [S-1:0] unused_zeros;
      assign unused_zeros = state_exponent[S-1:0];
      assign exponent = {lower ? state_exponent[9:S] : e[9:S], {S{1'b0}}};
    end else begin : all
      assign exponent = lower ? state_exponent : e;
    end
  endgenerate
  wire differ;
  assign differ    = state_sign ^ product_sign;
  assign nan       = state_nan | product_nan | (state_infinity & product_infinity & differ);
  assign infinity  = state_infinity | product_infinity;
  assign subtract  = differ & ~infinity;  // an infinity keeps its sign
  assign negative  = state_infinity | (lower & ~product_infinity) ? state_sign : product_sign;
  // of all exponents only that of zero, -512, is below -384: the lowest of a number is that of the lowest bit of a product
  assign both_zero = product_zero & state_exponent[9] & ~state_exponent[8] & ~state_exponent[7];
endmodule

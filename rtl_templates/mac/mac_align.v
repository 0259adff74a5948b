// Product and state brought to the exponent of the larger: exponent + above is E' of the definition, larger and smaller
// are significands of W bits, the smaller shifted right, low bits dropped. above: the product was 2 or more.
// subtract: the significands have to be subtracted; negative is then the sign of larger. both_zero: nothing but zeros.
// ALIGN: bits of distance; a smaller one 2^ALIGN and more away is 0. 5 is exact for every W up to 32.
module mac_align #(
  parameter EXPONENT_BITS = 8,
  parameter FRACTION_BITS = 7,
  parameter W             = 20,
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
  output wire                       above,
  output wire                       negative,
  output wire                       subtract,
  output wire                       both_zero,
  output wire                       nan,
  output wire                       infinity
);
  generate  // what the module is not made for stops elaboration
    if (EXPONENT_BITS < 2 || EXPONENT_BITS > 8) begin : refuse_EXPONENT_BITS
      mac_align_needs_EXPONENT_BITS_from_2_to_8 stop ();
    end
    if (FRACTION_BITS < 2 || FRACTION_BITS > 15) begin : refuse_FRACTION_BITS
      mac_align_needs_FRACTION_BITS_from_2_to_15 stop ();
    end
    if (W < 2 * FRACTION_BITS + 2 || W > 32) begin : refuse_W mac_align_needs_W_from_2_FRACTION_BITS_plus_2_to_32 stop (); end
    if (ALIGN < 1 || ALIGN > 5) begin : refuse_ALIGN mac_align_needs_ALIGN_from_1_to_5 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST mac_align_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam P = 2 * FRACTION_BITS + 2;  // bits of the product
  wire         state_nan;
  wire         state_infinity;
  wire         state_sign;
  wire [9:0]   state_exponent;
  wire [W-1:0] state_significand;
  assign {state_nan, state_infinity, state_sign, state_exponent, state_significand} = state;

  // distance = state's exponent - product's exponent - 1, the product taken as less than 2
  wire [9:0]  e;
  wire [10:0] distance;
  assign e = {{(9-EXPONENT_BITS){product_exponent[EXPONENT_BITS]}}, product_exponent};
  mac_adder #(.WIDTH(11), .FAST(FAST)) compare (
    .a({state_exponent[9], state_exponent}),
    .b({~e[9], ~e}),
    .carry_in(1'b0),
    .sum(distance)
  );

  // Not negative: the state is larger, and the product as it stands, 1 bit below its aligned place if less than 2, goes
  // right by distance. Negative: the state goes right by ~distance, and by 1 more if the product is 2 or more.
  wire         high;  // the product is 2 or more
  wire         from_state;
  wire [W-1:0] p;
  assign high       = product[P-1];
  assign from_state = product_zero | ~distance[10];
  generate
    if (W > P) begin : padded
      assign p = {product, {(W-P){1'b0}}};
    end else begin : full
      assign p = product;
    end
  endgenerate
  assign larger = from_state ? state_significand : high ? p : {p[W-2:0], 1'b0};
  wire [9:0]   steps;
  wire [W-1:0] unshifted;
  assign steps     = distance[9:0] ^ {10{distance[10]}};
  assign unshifted = from_state ? p : high ? {1'b0, state_significand[W-1:1]} : state_significand;
  assign smaller   = (unshifted >> steps[ALIGN-1:0]) & {W{~(|steps[9:ALIGN])}};

  assign exponent  = from_state ? state_exponent : e;
  assign above     = ~from_state & high;
  wire differ;
  assign differ    = state_sign ^ product_sign;
  assign nan       = state_nan | product_nan | (state_infinity & product_infinity & differ);
  assign infinity  = state_infinity | product_infinity;
  assign subtract  = differ & ~infinity;  // an infinity keeps its sign
  assign negative  = state_infinity | (from_state & ~product_infinity) ? state_sign : product_sign;
  // of all exponents only that of zero, -512, is below -384: the lowest of a number is that of the lowest bit of a product
  assign both_zero = product_zero & state_exponent[9] & ~state_exponent[8] & ~state_exponent[7];
endmodule

// One cell of an array of 8-bit floating-point numbers whose sums are exact: the product, whole, goes into the bin of its
// exponent, 2^LOG of them to a bin, the lowest from -LOWEST on; the other bins pass. PLACED: bits of a product at its place in a
// bin, with its sign; a bin of BIN_BITS holds 2^(BIN_BITS - PLACED) of them.
// state: {nan, infinity, sign of the infinity, highest bin, ..., lowest bin}, two's complement. load: as in mac_element.
// DEPTH: 1  multiply, place, add in one clock   2  multiply | place, add   3  multiply | place | add
// state_in belongs to the operand that was in this cell's register DEPTH - 1 clocks before; state_out is a clock later.
module mac_bins #(
  parameter EXPONENT_BITS = 5,
  parameter FRACTION_BITS = 3,
  parameter LOWEST        = 18,
  parameter LOG           = 3,
  parameter BINS          = 5,
  parameter PLACED        = 16,
  parameter BIN_BITS      = 28,
  parameter DEPTH         = 3,
  parameter FAST          = 0
) (
  input  wire                                   clock,
  input  wire                                   load,
  input  wire [EXPONENT_BITS+FRACTION_BITS+1:0] operand_in,
  output reg  [EXPONENT_BITS+FRACTION_BITS+1:0] operand_out,
  input  wire [BINS*BIN_BITS+2:0]               state_in,
  output reg  [BINS*BIN_BITS+2:0]               state_out
);
  generate  // what the module is not made for stops elaboration
    if (EXPONENT_BITS < 2 || EXPONENT_BITS > 8) begin : refuse_EXPONENT_BITS mac_bins_needs_EXPONENT_BITS_from_2_to_8 stop (); end
    if (FRACTION_BITS < 2 || FRACTION_BITS > 15) begin : refuse_FRACTION_BITS
      mac_bins_needs_FRACTION_BITS_from_2_to_15 stop ();
    end
    if (LOWEST < 0 || LOWEST > 255) begin : refuse_LOWEST mac_bins_needs_LOWEST_from_0_to_255 stop (); end
    if (LOG < 1 || LOG > EXPONENT_BITS + 1) begin : refuse_LOG mac_bins_needs_LOG_from_1_to_EXPONENT_BITS_plus_1 stop (); end
    if (BINS < 1 || BINS > 64) begin : refuse_BINS mac_bins_needs_BINS_from_1_to_64 stop (); end
    if (PLACED < 2 * FRACTION_BITS + 4 || PLACED > 128) begin : refuse_PLACED
      mac_bins_needs_PLACED_from_2_FRACTION_BITS_plus_4_to_128 stop ();
    end
    if (BIN_BITS <= PLACED || BIN_BITS > 128) begin : refuse_BIN_BITS mac_bins_needs_BIN_BITS_from_PLACED_plus_1_to_128 stop (); end
    if (DEPTH < 1 || DEPTH > 3) begin : refuse_DEPTH mac_bins_needs_DEPTH_from_1_to_3 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST mac_bins_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam        P      = 2 * FRACTION_BITS + 2;
  localparam        X      = EXPONENT_BITS + 1;
  localparam        M      = P + X + 4;          // bits between multiply and place
  localparam        A      = PLACED + BINS + 3;  // between place and add
  localparam [31:0] OFFSET = LOWEST;

  reg [EXPONENT_BITS+FRACTION_BITS+1:0] weight;
  always @(posedge clock) begin
    operand_out <= operand_in;
    if (load) weight <= operand_out;
  end

  wire [P-1:0] product;
  wire [X-1:0] product_exponent;
  wire [X-1:0] place;  // from the lowest exponent on
  wire         product_sign;
  wire         product_zero;
  wire         product_nan;
  wire         product_infinity;
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
  assign place = product_exponent + OFFSET[X-1:0];
  wire [M-1:0] multiplied;
  wire [M-1:0] to_place;
  assign multiplied = {product, place, product_sign, product_zero, product_nan, product_infinity};
  generate
    if (DEPTH > 1) begin : after_multiply
      reg [M-1:0] held;
      always @(posedge clock) held <= multiplied;
      assign to_place = held;
    end else begin : through_multiply
      assign to_place = multiplied;
    end
  endgenerate

  wire [PLACED-1:0] placed;
  wire [BINS-1:0]  here;  // which bin
  assign placed = ({{(PLACED-P){1'b0}}, to_place[M-1-:P]} << to_place[4+:LOG]) ^ {PLACED{to_place[3]}};
  genvar i;
  generate
    for (i = 0; i < BINS; i = i + 1) begin : bin_of
      localparam [31:0] NUMBER = i;
      if (LOG < X) begin : several
        assign here[i] = to_place[4+LOG+:X-LOG] == NUMBER[X-LOG-1:0] & ~to_place[2];
      end else begin : only
        assign here[i] = ~to_place[2];
      end
    end
  endgenerate
  wire [A-1:0] aligned;
  wire [A-1:0] to_add;
  assign aligned = {placed, here, to_place[3], to_place[1:0]};
  generate
    if (DEPTH > 2) begin : after_place
      reg [A-1:0] held;
      always @(posedge clock) held <= aligned;
      assign to_add = held;
    end else begin : through_place
      assign to_add = aligned;
    end
  endgenerate

  wire [BINS*BIN_BITS-1:0] sums;
  generate
    for (i = 0; i < BINS; i = i + 1) begin : one_bin
      mac_adder #(.WIDTH(BIN_BITS), .FAST(FAST)) add (
        .a(state_in[i*BIN_BITS+:BIN_BITS]),
        .b({{(BIN_BITS-PLACED){to_add[A-1]}}, to_add[A-1-:PLACED]} & {BIN_BITS{to_add[3+i]}}),
        .carry_in(to_add[2] & to_add[3+i]),
        .sum(sums[i*BIN_BITS+:BIN_BITS])
      );
    end
  endgenerate
  wire state_nan;
  wire state_infinity;
  wire state_sign;
  wire infinity;
  assign {state_nan, state_infinity, state_sign} = state_in[BINS*BIN_BITS+:3];
  assign infinity = state_infinity | to_add[0];
  always @(posedge clock)
    state_out <= {
      state_nan | to_add[1] | (state_infinity & to_add[0] & (state_sign ^ to_add[2])),
      infinity,
      infinity & (state_infinity ? state_sign : to_add[2]),
      sums
    };
endmodule

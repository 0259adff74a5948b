// One cell of the array: state_out = state_in + weight * operand, normalised. The operand passes to the east in one clock,
// the state to the south; load keeps the operand that is here now as the weight.
// DEPTH, the same registers whatever the normalizer is (besides the weight's, the operand's and that of state_out):
//   1  none: multiply, align, add, normalize in one clock
//   2  multiply, align | add, normalize
//   3  multiply | align | add, normalize
//   4  multiply | align | add | normalize
// state_in belongs to the operand in this cell's register (DEPTH 1 and 2), or to the one before it (3 and 4).
module mac_element #(
  parameter EXPONENT_BITS = 8,
  parameter FRACTION_BITS = 7,
  parameter W             = 20,
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
  localparam P = 2 * FRACTION_BITS + 2;
  localparam M = P + EXPONENT_BITS + 5;  // bits between multiply and align
  localparam A = 2 * W + 16;             // between align and add
  localparam N = W + 16;                 // between add and normalize

  reg [EXPONENT_BITS+FRACTION_BITS+1:0] weight;
  always @(posedge clock) begin
    operand_out <= operand_in;
    if (load) weight <= operand_out;
  end

  wire [M-1:0] multiplied;
  wire [M-1:0] to_align;
  wire [A-1:0] aligned;
  wire [A-1:0] to_add;
  wire [N-1:0] added;
  wire [N-1:0] to_normalize;
  generate
    if (DEPTH > 2) begin : after_multiply
      reg [M-1:0] held;
      always @(posedge clock) held <= multiplied;
      assign to_align = held;
    end else begin : through_multiply
      assign to_align = multiplied;
    end
    if (DEPTH > 1) begin : after_align
      reg [A-1:0] held;
      always @(posedge clock) held <= aligned;
      assign to_add = held;
    end else begin : through_align
      assign to_add = aligned;
    end
    if (DEPTH > 3) begin : after_add
      reg [N-1:0] held;
      always @(posedge clock) held <= added;
      assign to_normalize = held;
    end else begin : through_add
      assign to_normalize = added;
    end
  endgenerate

  mac_multiply #(.EXPONENT_BITS(EXPONENT_BITS), .FRACTION_BITS(FRACTION_BITS), .FAST(FAST)) multiply (
    .a(operand_out),
    .b(weight),
    .product(multiplied[P-1:0]),
    .exponent(multiplied[P+:EXPONENT_BITS+1]),
    .sign(multiplied[M-4]),
    .zero(multiplied[M-3]),
    .nan(multiplied[M-2]),
    .infinity(multiplied[M-1])
  );

  mac_align #(.EXPONENT_BITS(EXPONENT_BITS), .FRACTION_BITS(FRACTION_BITS), .W(W), .FAST(FAST)) align (
    .product(to_align[P-1:0]),
    .product_exponent(to_align[P+:EXPONENT_BITS+1]),
    .product_sign(to_align[M-4]),
    .product_zero(to_align[M-3]),
    .product_nan(to_align[M-2]),
    .product_infinity(to_align[M-1]),
    .state(state_in),
    .larger(aligned[W-1:0]),
    .smaller(aligned[2*W-1:W]),
    .exponent(aligned[2*W+:10]),
    .above(aligned[A-6]),
    .negative(aligned[A-5]),
    .subtract(aligned[A-4]),
    .both_zero(aligned[A-3]),
    .nan(aligned[A-2]),
    .infinity(aligned[A-1])
  );

  mac_add #(.W(W), .FAST(FAST)) add (
    .larger(to_add[W-1:0]),
    .smaller(to_add[2*W-1:W]),
    .negative(to_add[A-5]),
    .subtract(to_add[A-4]),
    .both_zero(to_add[A-3]),
    .sum(added[W:0]),
    .sign(added[N-4]),
    .zero(added[N-3])
  );
  assign added[W+1+:10] = to_add[2*W+:10];
  assign added[N-5]     = to_add[A-6];
  assign added[N-1:N-2] = to_add[A-1:A-2];

  wire [W-1:0] significand;
  wire [9:0]   exponent;
  generate
    if (EXACT) begin : exact
      normalize_exact #(.W(W), .FAST(FAST)) normalize (
        .sum(to_normalize[W:0]),
        .zero(to_normalize[N-3]),
        .exponent(to_normalize[W+1+:10]),
        .above(to_normalize[N-5]),
        .significand(significand),
        .result_exponent(exponent)
      );
    end else begin : approximate
      normalize_approximate #(.W(W), .K(K), .L(L), .FAST(FAST)) normalize (
        .sum(to_normalize[W:0]),
        .zero(to_normalize[N-3]),
        .exponent(to_normalize[W+1+:10]),
        .above(to_normalize[N-5]),
        .significand(significand),
        .result_exponent(exponent)
      );
    end
  endgenerate
  always @(posedge clock)
    state_out <= {to_normalize[N-2], to_normalize[N-1], to_normalize[N-4], exponent, significand};
endmodule

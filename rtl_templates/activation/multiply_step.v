// y = (a * u + b) / 2^SHIFT, rounded down: a step of Horner's form. a, b, y: two's complement, u is not; what OUT bits do not hold
// is dropped.
module multiply_step #(
  parameter A_BITS = 8,
  parameter U_BITS = 8,
  parameter B_BITS = 8,
  parameter SHIFT  = 0,
  parameter OUT    = 16
) (
  input  wire [A_BITS-1:0] a,
  input  wire [U_BITS-1:0] u,
  input  wire [B_BITS-1:0] b,
  output wire [OUT-1:0]    y
);
  generate  // what the module is not made for stops elaboration
    if (A_BITS < 1) begin : refuse_A_BITS multiply_step_needs_A_BITS_of_1_or_more stop (); end
    if (U_BITS < 1) begin : refuse_U_BITS multiply_step_needs_U_BITS_of_1_or_more stop (); end
    if (B_BITS < 1) begin : refuse_B_BITS multiply_step_needs_B_BITS_of_1_or_more stop (); end
    if (SHIFT < 0 || SHIFT > 62) begin : refuse_SHIFT multiply_step_needs_SHIFT_from_0_to_62 stop (); end
    if (OUT < 1) begin : refuse_OUT multiply_step_needs_OUT_of_1_or_more stop (); end
  endgenerate
  localparam BY   = SHIFT > 0 ? SHIFT : 0;  // never less than nothing, so that it is a guard that stops what is less
  localparam WIDE = OUT + BY + A_BITS + U_BITS + B_BITS;
  wire signed [WIDE-1:0] wide_a;
  wire signed [WIDE-1:0] wide_u;
  wire signed [WIDE-1:0] wide_b;
  wire signed [WIDE-1:0] sum;
  wire                   unused_bits;
  assign wide_a      = {{(WIDE-A_BITS){a[A_BITS-1]}}, a};
  assign wide_u      = {{(WIDE-U_BITS){1'b0}}, u};
  assign wide_b      = {{(WIDE-B_BITS){b[B_BITS-1]}}, b};
  assign sum         = wide_a * wide_u + wide_b;
  assign y           = sum[BY +: OUT];
  assign unused_bits = ^sum;
endmodule

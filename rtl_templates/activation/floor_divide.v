// y = a / d, rounded down, where d > 0 and a < d * 2^OUT; unsigned. One subtraction for each bit of y, the highest first.
module floor_divide #(
  parameter A_BITS = 16,
  parameter D_BITS = 8,
  parameter OUT    = 8
) (
  input  wire [A_BITS-1:0] a,
  input  wire [D_BITS-1:0] d,
  output wire [OUT-1:0]    y
);
  generate  // what the module is not made for stops elaboration
    if (A_BITS < 1) begin : refuse_A_BITS floor_divide_needs_A_BITS_of_1_or_more stop (); end
    if (D_BITS < 1) begin : refuse_D_BITS floor_divide_needs_D_BITS_of_1_or_more stop (); end
    if (OUT < 1) begin : refuse_OUT floor_divide_needs_OUT_of_1_or_more stop (); end
  endgenerate
  localparam STEPS = OUT > 0 ? OUT : 1;  // at least 1, so that it is a guard that stops what is less
  wire [A_BITS+D_BITS+OUT-1:0] wide;  // a, above it zeros
  wire [D_BITS-1:0]            unused_rest;
  wire                         unused_bits;
  assign wide = {{(D_BITS+OUT){1'b0}}, a};
  genvar i;
  generate
    for (i = 0; i < STEPS; i = i + 1) begin : step  // of bit STEPS - 1 - i
      wire [D_BITS:0]   met;
      wire [D_BITS:0]   less;
      wire [D_BITS-1:0] rest;
      if (i == 0) begin : first
        assign met = wide[STEPS-1 +: D_BITS+1];
      end else begin : further
        assign met = {step[i-1].rest, wide[STEPS-1-i]};
      end
      assign less         = met - {1'b0, d};  // from -d to d - 1: its top bit is its sign
      assign y[STEPS-1-i] = ~less[D_BITS];
      assign rest         = less[D_BITS] ? met[D_BITS-1:0] : less[D_BITS-1:0];
    end
  endgenerate
  assign unused_rest = step[STEPS-1].rest;
  assign unused_bits = ^wide;
endmodule

// y = coarse * 2^SHIFT + difference; what OUT bits do not hold is dropped, so that a coarse two's complement value may come as it is.
module difference_sum #(
  parameter A_BITS = 8,
  parameter B_BITS = 3,
  parameter SHIFT  = 0,
  parameter OUT    = 8
) (
  input  wire [A_BITS-1:0] coarse,
  input  wire [B_BITS-1:0] difference,
  output wire [OUT-1:0]    y
);
  generate  // what the module is not made for stops elaboration
    if (A_BITS < 1) begin : refuse_A_BITS difference_sum_needs_A_BITS_of_1_or_more stop (); end
    if (B_BITS < 1) begin : refuse_B_BITS difference_sum_needs_B_BITS_of_1_or_more stop (); end
    if (SHIFT < 0 || SHIFT > 62) begin : refuse_SHIFT difference_sum_needs_SHIFT_from_0_to_62 stop (); end
    if (OUT < 1) begin : refuse_OUT difference_sum_needs_OUT_of_1_or_more stop (); end
  endgenerate
  localparam BY   = SHIFT > 0 ? SHIFT : 0;  // never less than nothing, so that it is a guard that stops what is less
  localparam WIDE = OUT + A_BITS + B_BITS + BY;
  wire [WIDE-1:0] sum;
  wire            unused_bits;
  assign sum         = ({{(WIDE-A_BITS){coarse[A_BITS-1]}}, coarse} << BY) + {{(WIDE-B_BITS){1'b0}}, difference};
  assign y           = sum[OUT-1:0];
  assign unused_bits = ^sum;
endmodule

// an-K-L: no leading zeros are counted. A carry goes right by 1; else a 1 among the upper K bits: no shift; else a 1 among
// the next L: left by K; else left by K + L. exponent, above: E' = exponent + above.
module normalize_approximate #(
  parameter W    = 20,
  parameter K    = 1,
  parameter L    = 2,
  parameter FAST = 0
) (
  input  wire [W:0]   sum,
  input  wire         zero,
  input  wire [9:0]   exponent,
  input  wire         above,
  output wire [W-1:0] significand,
  output wire [9:0]   result_exponent
);
  generate  // what the module is not made for stops elaboration
    if (W < 4 || W > 32) begin : refuse_W normalize_approximate_needs_W_from_4_to_32 stop (); end
    if (K < 1) begin : refuse_K normalize_approximate_needs_K_of_1_or_more stop (); end
    if (L < 1) begin : refuse_L normalize_approximate_needs_L_of_1_or_more stop (); end
    if (K + L >= W) begin : refuse_K_and_L normalize_approximate_needs_K_plus_L_below_W stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST normalize_approximate_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam [31:0] BY_K    = -K;
  localparam [31:0] BY_BOTH = -(K + L);
  wire carry;
  wire upper;
  wire next;
  assign carry = sum[W];
  assign upper = |sum[W-1-:K];
  assign next  = |sum[W-1-K-:L];
  assign significand = carry ? sum[W:1] : upper ? sum[W-1:0] : next ? sum[W-1:0] << K : sum[W-1:0] << (K + L);
  wire [9:0] change;
  wire [9:0] sum_of;
  assign change = carry ? 10'd1 : upper ? 10'd0 : next ? BY_K[9:0] : BY_BOTH[9:0];
  mac_adder #(.WIDTH(10), .FAST(FAST)) adjust (
    .a(exponent),
    .b(change),
    .carry_in(above),
    .sum(sum_of)
  );
  assign result_exponent = {sum_of[9] | zero, sum_of[8:0] & {9{~zero}}};  // of zero it is -512
endmodule

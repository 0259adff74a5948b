// an-K-L: no leading zeros are counted. A carry goes right by STEP; else a 1 among the upper K bits: no shift; else a 1 among
// the next L: left by K; else left by K + L. L = 0: left by K if at all; K = 0, too: never left. exponent, above: E' = exponent +
// above. STEP, of which K and L are multiples: so are exponents; 1 where all are.
module normalize_approximate #(
  parameter W    = 20,
  parameter STEP = 1,
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
    if (STEP != 1 && STEP != 2 && STEP != 4) begin : refuse_STEP normalize_approximate_needs_STEP_1_2_or_4 stop (); end
    if (K < 0) begin : refuse_K normalize_approximate_needs_K_of_0_or_more stop (); end
    if (L < 0 || (K == 0 && L > 0)) begin : refuse_L normalize_approximate_needs_L_of_0_or_more_and_0_with_K stop (); end
    if (K + L >= W) begin : refuse_K_and_L normalize_approximate_needs_K_plus_L_below_W stop (); end
    if (((K | L) & (STEP - 1)) != 0) begin : refuse_multiples normalize_approximate_needs_K_and_L_in_multiples_of_STEP stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST normalize_approximate_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam [31:0] RIGHT   = STEP;
  localparam [31:0] BY_K    = -K;
  localparam [31:0] BY_BOTH = -(K + L);
  wire         carry;
  wire         upper;
  wire         next;
  wire [W-1:0] right;
  assign carry = sum[W];
  generate
    if (K > 0) begin : left
      assign upper = |sum[W-1-:K];
    end else begin : never
      assign upper = 1'b1;
    end
    if (L > 0) begin : farther
      assign next = |sum[W-1-K-:L];
    end else begin : once
      assign next = 1'b1;
    end
    if (STEP > 1) begin : far
      assign right = {{(STEP-1){1'b0}}, sum[W:STEP]};
    end else begin : near
      assign right = sum[W:1];
    end
  endgenerate
  assign significand = carry ? right : upper ? sum[W-1:0] : next ? sum[W-1:0] << K : sum[W-1:0] << (K + L);
  wire [9:0] change;
  wire [9:0] sum_of;
  assign change = carry ? RIGHT[9:0] : upper ? 10'd0 : next ? BY_K[9:0] : BY_BOTH[9:0];
  mac_adder #(.WIDTH(10), .FAST(FAST)) adjust (
    .a(exponent),
    .b(change),
    .carry_in(above),
    .sum(sum_of)
  );
  assign result_exponent = {sum_of[9] | zero, sum_of[8:0] & {9{~zero}}};  // of zero it is -512
endmodule

// The sum shifted until one of its top STEP bits is set, by multiples of STEP: each step looks whether the widest, half of that,
// and so on down to STEP bits on top are all zeros. A carry, sum[W], is the step that is not taken: significand = sum >> STEP.
// exponent, above: E' = exponent + above. FAST = 1: the steps are told by a tree of their own over the sum, not through the shifting.
module normalize_exact #(
  parameter W    = 20,
  parameter STEP = 1,
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
    if (W < 4 || W > 32) begin : refuse_W normalize_exact_needs_W_from_4_to_32 stop (); end
    if (STEP != 1 && STEP != 2 && STEP != 4) begin : refuse_STEP normalize_exact_needs_STEP_1_2_or_4 stop (); end
    if (W < 4 * STEP) begin : refuse_W_and_STEP normalize_exact_needs_W_of_4_STEP_or_more stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST normalize_exact_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam STRIDE = STEP == 2 || STEP == 4 ? STEP : 1;  // one of them, so that it is the guard that stops what is not
  localparam UNITS  = W > 0 ? (W + 2 * STRIDE - 1) / STRIDE : 2;  // of STEP bits; of the first one only the carry is there
  localparam T      = UNITS * STRIDE;
  localparam STEPS  = $clog2(UNITS);
  wire [T-1:0] units;
  generate
    if (T > W + STRIDE) begin : below_too
      assign units = {{(STRIDE-1){1'b0}}, sum, {(T-W-STRIDE){1'b0}}};
    end else if (STRIDE > 1) begin : above_only
      assign units = {{(STRIDE-1){1'b0}}, sum};
    end else begin : plain
      assign units = sum;
    end
  endgenerate
  wire [STEPS-1:0] count;  // units of zeros on top
  genvar s, i;
  generate
    for (s = 0; s < STEPS; s = s + 1) begin : step  // the widest first; the last, by 1, is below
      wire [T-1:0] word;
      if (s == 0) begin : first
        assign word = units;
      end else begin : halves
        assign word = count[STEPS-s] ? step[s-1].word << (STRIDE << (STEPS - s)) : step[s-1].word;
      end
      if (FAST != 1) begin : looked_at
        assign count[STEPS-1-s] = ~(|word[T-1-:(STRIDE<<(STEPS-1-s))]);
      end
    end
    if (FAST == 1) begin : told
      wire [(1<<STEPS)-1:0] some;
      for (i = 0; i < (1 << STEPS); i = i + 1) begin : unit  // from the top
        if (i < UNITS) begin : there
          assign some[(1<<STEPS)-1-i] = |units[T-1-STRIDE*i-:STRIDE];
        end else begin : beyond
          assign some[(1<<STEPS)-1-i] = 1'b0;
        end
      end
      mac_leading_zeros #(.STEPS(STEPS)) tree (
        .word(some),
        .count(count)
      );
    end
  endgenerate
  assign significand = count[0] ? step[STEPS-1].word[T-1-STRIDE-:W] : step[STEPS-1].word[T-1-:W];

  // E = E' + STEP (1 - count); the lowest bit of 1 - count is that of ~count
  wire [9:0]       sum_of;
  wire [9:0]       change;
  wire [STEPS-2:0] upper;
  assign upper  = ~count[STEPS-1:1] + {{(STEPS-2){1'b0}}, 1'b1};
  assign change = {{(10-STEPS){|count[STEPS-1:1]}}, upper, ~count[0]};
  mac_adder #(.WIDTH(10), .FAST(FAST)) adjust (
    .a(exponent),
    .b(change << $clog2(STRIDE)),
    .carry_in(above),
    .sum(sum_of)
  );
  assign result_exponent = {sum_of[9] | zero, sum_of[8:0] & {9{~zero}}};  // of zero it is -512
endmodule

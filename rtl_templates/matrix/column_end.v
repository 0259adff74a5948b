// The south end of a column: a state normalised exactly, below 2^-126 taken as zero, rounded to nearest even, one clock
// later. RESULT_BITS = 16: bfloat16; 32: float32, which holds every significand of up to 24 bits as it is. STEP: as that of the
// elements, so many bits of a significand stand above the one that weighs 2^E.
module column_end #(
  parameter W           = 20,
  parameter STEP        = 0,
  parameter RESULT_BITS = 32,
  parameter FAST        = 0
) (
  input  wire                   clock,
  input  wire [W+12:0]          state,
  output wire [RESULT_BITS-1:0] code
);
  generate  // what the module is not made for stops elaboration
    if (W < 4 || W > 32) begin : refuse_W column_end_needs_W_from_4_to_32 stop (); end
    if (STEP < 0 || STEP == 3 || STEP > 4) begin : refuse_STEP column_end_needs_STEP_0_1_2_or_4 stop (); end
    if (RESULT_BITS != 16 && RESULT_BITS != 32) begin : refuse_RESULT_BITS column_end_needs_RESULT_BITS_16_or_32 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST column_end_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam        F    = RESULT_BITS - 9;  // bits of the result's fraction
  localparam [31:0] BIAS = 127 + STEP;
  wire [W-1:0] significand;
  wire [9:0]   exponent;
  normalize_exact #(.W(W), .FAST(FAST)) normalize (
    .sum({1'b0, state[W-1:0]}),
    .zero(1'b0),
    .exponent(state[W+9:W]),
    .above(1'b0),
    .significand(significand),
    .result_exponent(exponent)
  );

  reg [W-1:0] v;
  reg [9:0]   biased;  // of the top bit, still signed
  reg         sign;
  reg         infinity;
  reg         nan;
  always @(posedge clock) begin
    v                     <= significand;
    biased                <= exponent + BIAS[9:0];
    {nan, infinity, sign} <= state[W+12:W+10];
  end

  wire         tiny;
  wire         huge;
  wire [F+7:0] kept;  // exponent and fraction, cut off
  wire         up;    // the next one is nearer: a carry out of the fraction goes into the exponent, as it should
  assign tiny = ~v[W-1] | biased[9] | ~(|biased[8:0]);
  assign huge = infinity | (~tiny & (biased[8] | (&biased[7:0])));
  generate
    if (W - 1 > F) begin : cut
      assign kept = {biased[7:0], v[W-2-:F]};
      if (W - 2 > F) begin : with_rest
        assign up = v[W-2-F] & (v[W-1-F] | (|v[W-3-F:0]));
      end else begin : without_rest
        assign up = v[W-2-F] & v[W-1-F];
      end
    end else if (W - 1 == F) begin : whole
      assign kept = {biased[7:0], v[W-2:0]};
      assign up   = 1'b0;
    end else begin : padded
      assign kept = {biased[7:0], v[W-2:0], {(F-W+1){1'b0}}};
      assign up   = 1'b0;
    end
  endgenerate
  wire [F+7:0] rounded;
  assign rounded = kept + {{(F+7){1'b0}}, up};
  assign code = nan   ? {1'b0, 8'hff, 1'b1, {(F-1){1'b0}}}
              : huge ? {sign, 8'hff, {F{1'b0}}}
              : tiny ? {sign, {(F+8){1'b0}}}
              :         {sign, rounded};
endmodule

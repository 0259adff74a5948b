// The south end of a column of mac_bins: the bins added up, the sum rounded once to nearest even, one clock later.
// RESULT_BITS = 16: bfloat16; 32: float32. The other parameters are those of the column.
module bins_end #(
  parameter FRACTION_BITS = 3,
  parameter LOWEST        = 18,
  parameter LOG           = 3,
  parameter BINS          = 5,
  parameter BIN_BITS      = 28,
  parameter RESULT_BITS   = 32
) (
  input  wire                     clock,
  input  wire [BINS*BIN_BITS+2:0] state,
  output wire [RESULT_BITS-1:0]   code
);
  generate  // what the module is not made for stops elaboration
    if (FRACTION_BITS < 2 || FRACTION_BITS > 15) begin : refuse_FRACTION_BITS
      bins_end_needs_FRACTION_BITS_from_2_to_15 stop ();
    end
    if (LOWEST < 0 || LOWEST > 80) begin : refuse_LOWEST bins_end_needs_LOWEST_from_0_to_80 stop (); end
    if (LOG < 1 || LOG > 6) begin : refuse_LOG bins_end_needs_LOG_from_1_to_6 stop (); end
    if (BINS < 1 || BINS > 64) begin : refuse_BINS bins_end_needs_BINS_from_1_to_64 stop (); end
    if (BIN_BITS < 2 || BIN_BITS > 128) begin : refuse_BIN_BITS bins_end_needs_BIN_BITS_from_2_to_128 stop (); end
    if (RESULT_BITS != 16 && RESULT_BITS != 32) begin : refuse_RESULT_BITS bins_end_needs_RESULT_BITS_16_or_32 stop (); end
  endgenerate
  localparam F     = RESULT_BITS == 16 ? 7 : 23;        // bits of the result's fraction
  localparam T     = BIN_BITS + ((BINS - 1) << LOG) + 1;  // of the sum
  localparam STEPS = T < 1 ? 6 : $clog2(T + F + 2);
  localparam N     = 1 << STEPS;
  localparam [31:0] TOP = 126 + T - LOWEST - 2 * FRACTION_BITS;  // biased exponent of the sum's uppermost bit
  genvar i;
  generate
    for (i = 0; i < BINS; i = i + 1) begin : added
      wire [T-1:0] bin;
      wire [T-1:0] sum;
      assign bin = {{(T-BIN_BITS){state[(i+1)*BIN_BITS-1]}}, state[i*BIN_BITS+:BIN_BITS]} << (i << LOG);
      if (i == 0) begin : first
        assign sum = bin;
      end else begin : further
        assign sum = added[i-1].sum + bin;
      end
    end
  endgenerate
  wire [T-1:0] total;
  assign total = added[BINS-1].sum;

  reg [T-1:0] size;
  reg         sign;
  reg         nan;
  reg         infinity;
  reg         infinite_sign;
  always @(posedge clock) begin
    size                           <= (total ^ {T{total[T-1]}}) + {{(T-1){1'b0}}, total[T-1]};
    sign                           <= total[T-1];
    {nan, infinity, infinite_sign} <= state[BINS*BIN_BITS+:3];
  end

  wire [STEPS-1:0] count;
  wire [N-1:0]     word;
  wire [N-1:0]     v;
  assign word = {size, {(N-T){1'b0}}};
  mac_leading_zeros #(.STEPS(STEPS)) tree (
    .word(word),
    .count(count)
  );
  assign v = word << count;
  wire [7:0]   biased;
  wire         up;  // the next one is nearer: a carry out of the fraction goes into the exponent, as it should
  wire [F+7:0] rounded;
  assign biased  = TOP[7:0] - {{(8-STEPS){1'b0}}, count};
  assign up      = v[N-2-F] & (v[N-1-F] | (|v[N-3-F:0]));
  assign rounded = {biased, v[N-2-:F]} + {{(F+7){1'b0}}, up};
  assign code = nan      ? {1'b0, 8'hff, 1'b1, {(F-1){1'b0}}}
              : infinity ? {infinite_sign, 8'hff, {F{1'b0}}}
              : v[N-1]   ? {sign, rounded}
              :            {RESULT_BITS{1'b0}};
endmodule

// A stream's words of 8-bit codes, one a lane, lane 0 lowest, above them the exponent of all, to LANES bfloat16, a clock later.
// What stands beside a word goes with it. KIND: as in eight_bit_decode. A word is taken as soon as the one before it leaves.
// invalid_out: as of eight_bit_decoder.
module engine_codes #(
  parameter KIND   = 0,
  parameter LANES  = 4,
  parameter BESIDE = 1
) (
  input  wire                clock,
  input  wire                reset,
  input  wire [8*LANES+7:0]  word_in,
  input  wire [BESIDE-1:0]   beside_in,
  input  wire                valid_in,
  output wire                ready_in,
  output wire [16*LANES-1:0] word_out,
  output reg  [BESIDE-1:0]   beside_out,
  output wire                invalid_out,
  output wire                valid_out,
  input  wire                ready_out
);
  generate  // what the module is not made for stops elaboration
    if (KIND < 0 || KIND > 3) begin : refuse_KIND engine_codes_needs_KIND_from_0_to_3 stop (); end
    if (LANES < 1 || LANES > 1024) begin : refuse_LANES engine_codes_needs_LANES_from_1_to_1024 stop (); end
    if (BESIDE < 1) begin : refuse_BESIDE engine_codes_needs_BESIDE_of_1_or_more stop (); end
  endgenerate
  assign ready_in = (~valid_out | ready_out) & ~reset;
  eight_bit_decoder #(
    .KIND(KIND),
    .NORMALIZED(1),
    .FLOAT(1),
    .WIDTH(16),
    .FRACTION(15),
    .MAXIMUM(0),
    .LANES(LANES)
  ) decoder (
    .clock(clock),
    .reset(reset),
    .enable(ready_in),
    .in_valid(valid_in),
    .codes(word_in[8*LANES-1:0]),
    .exponent(word_in[8*LANES+:8]),
    .out_valid(valid_out),
    .invalid(invalid_out),
    .values(word_out)
  );
  always @(posedge clock) if (ready_in) beside_out <= beside_in;
endmodule

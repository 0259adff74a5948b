// Blocks of bfloat16 values to codes and exponents: eight_bit_normalize, then eight_bit_encode of LANES values a clock.
// The first row of codes (first = 1) comes out 4 clocks after the one that took the block's last row in.
// exponent, zero, invalid: of the block, beside each of its rows. In an invalid block a nan has code 0, and what is too large
// saturates. The codes and the exponent are those of an 8-bit format whose maxima are powers of two.
module eight_bit_compress #(
  parameter KIND     = 0,
  parameter BLOCK    = 64,
  parameter LANES    = 1,
  parameter PARALLEL = 3
) (
  input  wire                clock,
  input  wire                reset,
  input  wire                enable,
  input  wire                in_valid,
  input  wire [16*LANES-1:0] values,
  output wire                out_valid,
  output reg                 first,
  output wire [8*LANES-1:0]  codes,
  output reg  [7:0]          exponent,
  output reg                 zero,
  output reg                 invalid
);
  generate  // what the module is not made for stops elaboration
    if (KIND < 0 || KIND > 3) begin : refuse_KIND eight_bit_compress_needs_KIND_from_0_to_3 stop (); end
    if (BLOCK < 2 * LANES || BLOCK > 65536 || BLOCK % LANES != 0) begin : refuse_BLOCK
      eight_bit_compress_needs_BLOCK_a_multiple_of_LANES_from_2_LANES_to_65536 stop ();
    end
    if (LANES < 1 || LANES > 1024) begin : refuse_LANES eight_bit_compress_needs_LANES_from_1_to_1024 stop (); end
    if (PARALLEL < 0 || PARALLEL > 7) begin : refuse_PARALLEL eight_bit_compress_needs_PARALLEL_from_0_to_7 stop (); end
  endgenerate
  wire                row_valid;
  wire                row_first;
  wire [16*LANES-1:0] row;
  wire [7:0]          row_exponent;
  wire                row_zero;
  wire                row_invalid;
  wire [LANES-1:0]    unused_nan;
  eight_bit_normalize #(.BLOCK(BLOCK), .LANES(LANES)) normalize (
    .clock(clock),
    .reset(reset),
    .enable(enable),
    .in_valid(in_valid),
    .values(values),
    .out_valid(row_valid),
    .first(row_first),
    .quotients(row),
    .exponent(row_exponent),
    .zero(row_zero),
    .invalid(row_invalid)
  );
  eight_bit_encoder #(
    .KIND(KIND),
    .NORMALIZED(1),
    .FLOAT(1),
    .WIDTH(16),
    .FRACTION(0),
    .PARALLEL(PARALLEL),
    .LANES(LANES)
  ) encoder (
    .clock(clock),
    .reset(reset),
    .enable(enable),
    .in_valid(row_valid),
    .values(row),
    .out_valid(out_valid),
    .codes(codes),
    .invalid(unused_nan)
  );
  always @(posedge clock)
    if (enable) begin
      first    <= row_first;
      exponent <= row_exponent;
      zero     <= row_zero;
      invalid  <= row_invalid;
    end
endmodule

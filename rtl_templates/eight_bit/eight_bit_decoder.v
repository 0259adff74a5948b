// LANES codes a clock to numbers, one clock later: bfloat16 (FLOAT = 1, WIDTH 16), as eight_bit_decode has it, or fixed point
// (FLOAT = 0), as eight_bit_decode_fixed has it; exponent means nothing then. While enable is 0 all stands still.
// Lane i is codes[8*i +: 8] and values[WIDTH*i +: WIDTH]; the exponent is that of all lanes. reset: of out_valid alone.
// invalid: the exponent was below -96 and a code not 0, and the values mean nothing; never in fixed point.
module eight_bit_decoder #(
  parameter KIND       = 0,
  parameter NORMALIZED = 1,
  parameter FLOAT      = 1,
  parameter WIDTH      = 16,
  parameter FRACTION   = 15,
  parameter MAXIMUM    = 0,
  parameter LANES      = 1
) (
  input  wire                   clock,
  input  wire                   reset,
  input  wire                   enable,
  input  wire                   in_valid,
  input  wire [8*LANES-1:0]     codes,
  input  wire [7:0]             exponent,
  output reg                    out_valid,
  output reg                    invalid,
  output reg  [WIDTH*LANES-1:0] values
);
  generate  // what the module is not made for stops elaboration
    if (KIND < 0 || KIND > 3) begin : refuse_KIND eight_bit_decoder_needs_KIND_from_0_to_3 stop (); end
    if (NORMALIZED < 0 || NORMALIZED > 1) begin : refuse_NORMALIZED eight_bit_decoder_needs_NORMALIZED_0_or_1 stop (); end
    if (FLOAT < 0 || FLOAT > 1) begin : refuse_FLOAT eight_bit_decoder_needs_FLOAT_0_or_1 stop (); end
    if (WIDTH < 2 || WIDTH > 32 || (FLOAT != 0 && WIDTH != 16)) begin : refuse_WIDTH
      eight_bit_decoder_needs_WIDTH_from_2_to_32_and_16_of_bfloat16 stop ();
    end
    if (FRACTION < 0 || FRACTION > 31) begin : refuse_FRACTION eight_bit_decoder_needs_FRACTION_from_0_to_31 stop (); end
    if (MAXIMUM < -96 || MAXIMUM > 127) begin : refuse_MAXIMUM eight_bit_decoder_needs_MAXIMUM_from_minus_96_to_127 stop (); end
    if (LANES < 1 || LANES > 1024) begin : refuse_LANES eight_bit_decoder_needs_LANES_from_1_to_1024 stop (); end
  endgenerate
  wire [WIDTH*LANES-1:0] decoded;
  wire                   refused;
  genvar i;
  generate
    if (FLOAT == 0) begin : without
      wire [7:0] unused_exponent;
      assign unused_exponent = exponent;
      assign refused         = 1'b0;
    end else begin : with_exponent
      assign refused = exponent[7] & ~exponent[6] & ~exponent[5] & (|codes);
    end
    for (i = 0; i < LANES; i = i + 1) begin : lane
      if (FLOAT != 0) begin : bfloat
        eight_bit_decode #(.KIND(KIND), .NORMALIZED(NORMALIZED)) decode (
          .code(codes[8*i+:8]),
          .exponent(exponent),
          .value(decoded[16*i+:16])
        );
      end else begin : fixed
        eight_bit_decode_fixed #(
          .KIND(KIND),
          .NORMALIZED(NORMALIZED),
          .WIDTH(WIDTH),
          .FRACTION(FRACTION),
          .MAXIMUM(MAXIMUM)
        ) decode (
          .code(codes[8*i+:8]),
          .value(decoded[WIDTH*i+:WIDTH])
        );
      end
    end
  endgenerate
  always @(posedge clock) begin
    if (enable) begin
      out_valid <= in_valid;
      values    <= decoded;
      invalid   <= refused;
    end
    if (reset) out_valid <= 1'b0;
  end
endmodule

// LANES normalised numbers a clock to codes, one clock later: bfloat16 (FLOAT = 1, WIDTH 16), as eight_bit_encode has it, or
// fixed point (FLOAT = 0), as eight_bit_encode_fixed has it, where nothing is invalid. While enable is 0 all stands still.
// PARALLEL: as in eight_bit_search. Lane i is values[WIDTH*i +: WIDTH], codes[8*i +: 8] and invalid[i]. reset: of out_valid alone.
module eight_bit_encoder #(
  parameter KIND       = 0,
  parameter NORMALIZED = 1,
  parameter FLOAT      = 1,
  parameter WIDTH      = 16,
  parameter FRACTION   = 15,
  parameter PARALLEL   = 3,
  parameter LANES      = 1
) (
  input  wire                   clock,
  input  wire                   reset,
  input  wire                   enable,
  input  wire                   in_valid,
  input  wire [WIDTH*LANES-1:0] values,
  output reg                    out_valid,
  output reg  [8*LANES-1:0]     codes,
  output reg  [LANES-1:0]       invalid
);
  generate  // what the module is not made for stops elaboration
    if (KIND < 0 || KIND > 3) begin : refuse_KIND eight_bit_encoder_needs_KIND_from_0_to_3 stop (); end
    if (NORMALIZED < 0 || NORMALIZED > 1) begin : refuse_NORMALIZED eight_bit_encoder_needs_NORMALIZED_0_or_1 stop (); end
    if (FLOAT < 0 || FLOAT > 1) begin : refuse_FLOAT eight_bit_encoder_needs_FLOAT_0_or_1 stop (); end
    if (WIDTH < 2 || WIDTH > 32 || (FLOAT != 0 && WIDTH != 16)) begin : refuse_WIDTH
      eight_bit_encoder_needs_WIDTH_from_2_to_32_and_16_of_bfloat16 stop ();
    end
    if (FRACTION < 0 || FRACTION > 31) begin : refuse_FRACTION eight_bit_encoder_needs_FRACTION_from_0_to_31 stop (); end
    if (PARALLEL < 0 || PARALLEL > 7) begin : refuse_PARALLEL eight_bit_encoder_needs_PARALLEL_from_0_to_7 stop (); end
    if (LANES < 1 || LANES > 1024) begin : refuse_LANES eight_bit_encoder_needs_LANES_from_1_to_1024 stop (); end
  endgenerate
  wire [8*LANES-1:0] encoded;
  wire [LANES-1:0]   refused;
  genvar i;
  generate
    for (i = 0; i < LANES; i = i + 1) begin : lane
      if (FLOAT != 0) begin : bfloat
        eight_bit_encode #(.KIND(KIND), .NORMALIZED(NORMALIZED), .PARALLEL(PARALLEL)) encode (
          .value(values[16*i+:16]),
          .code(encoded[8*i+:8]),
          .invalid(refused[i])
        );
      end else begin : fixed
        eight_bit_encode_fixed #(
          .KIND(KIND),
          .NORMALIZED(NORMALIZED),
          .WIDTH(WIDTH),
          .FRACTION(FRACTION),
          .PARALLEL(PARALLEL)
        ) encode (
          .value(values[WIDTH*i+:WIDTH]),
          .code(encoded[8*i+:8])
        );
        assign refused[i] = 1'b0;
      end
    end
  endgenerate
  always @(posedge clock) begin
    if (enable) begin
      out_valid <= in_valid;
      codes     <= encoded;
      invalid   <= refused;
    end
    if (reset) out_valid <= 1'b0;
  end
endmodule

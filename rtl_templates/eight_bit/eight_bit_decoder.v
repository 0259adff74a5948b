// LANES codes a clock to numbers, one clock later: bfloat16 (FLOAT = 1, WIDTH 16), as eight_bit_decode has it, or fixed point
// (FLOAT = 0), as eight_bit_decode_fixed has it; exponent means nothing then. While enable is 0 all stands still.
// Lane i is codes[8*i +: 8] and values[WIDTH*i +: WIDTH]; the exponent is that of all lanes. reset: of out_valid alone.
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
  output reg  [WIDTH*LANES-1:0] values
);
  wire [WIDTH*LANES-1:0] decoded;
  genvar i;
  generate
    if (FLOAT == 0) begin : without
      wire [7:0] unused_exponent;
      assign unused_exponent = exponent;
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
    end
    if (reset) out_valid <= 1'b0;
  end
endmodule

// 127 times a magnitude, rounded, at most 127: the seven lower bits of its linear8 code. The only tie, 1/2, goes up to 64.
// FLOAT = 1: the magnitude is {exponent - 96, fraction} of a bfloat16; FLOAT = 0: it is a whole number times 2^-FRACTION.
module eight_bit_linear #(
  parameter FLOAT    = 1,
  parameter WIDTH    = 12,
  parameter FRACTION = 0
) (
  input  wire [WIDTH-1:0] magnitude,
  output wire [6:0]       code
);
  generate  // what the module is not made for stops elaboration
    if (FLOAT < 0 || FLOAT > 1) begin : refuse_FLOAT eight_bit_linear_needs_FLOAT_0_or_1 stop (); end
    if (WIDTH < 2 || WIDTH > 32 || (FLOAT != 0 && WIDTH != 12 && WIDTH != 13)) begin : refuse_WIDTH
      eight_bit_linear_needs_WIDTH_from_2_to_32_and_of_bfloat16_12_or_13 stop ();
    end
    if (FRACTION < 0 || FRACTION > 31) begin : refuse_FRACTION eight_bit_linear_needs_FRACTION_from_0_to_31 stop (); end
  endgenerate
  wire [7:0] doubled;  // 254 times the magnitude, cut off
  wire       beyond;
  generate
    if (FLOAT != 0) begin : shifted
      wire [WIDTH-8:0] exponent;
      wire [14:0]      product;  // of the significand and 127
      wire             tiny;     // below 2^-8
      assign exponent = magnitude[WIDTH-1:7];
      assign product  = {1'b1, magnitude[6:0], 7'd0} - {8'd1, magnitude[6:0]};
      assign tiny     = exponent < 23;
      assign beyond   = exponent >= 31;
      wire [14:0] placed;
      wire [6:0]  unused_rest;
      assign placed                 = product >> (3'd6 - exponent[2:0]);  // 30 - exponent
      assign {doubled, unused_rest} = placed & {15{~tiny}};
    end else begin : whole
      wire [WIDTH+7:0]          product;  // 254 times
      wire [WIDTH+FRACTION+7:0] quotient;
      assign product  = {magnitude, 8'd0} - {7'd0, magnitude, 1'b0};
      assign quotient = {{FRACTION{1'b0}}, product} >> FRACTION;
      assign doubled  = quotient[7:0];
      assign beyond   = |quotient[WIDTH+FRACTION+7:8];
    end
  endgenerate
  assign code = (doubled[7:1] + {6'd0, doubled[0] & ~(&doubled[7:1])}) | {7{beyond}};
endmodule

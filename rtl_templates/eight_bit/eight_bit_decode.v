// An 8-bit code to bfloat16: the code's value as float32, times 2^exponent, rounded to nearest even. No clock.
// exponent: of the block's maximum, a power of two; two's complement, -96 to 127, so that every value is a normal number.
// Code 0x80 is -0. KIND: 0 dynamic8, 1 static8, 2 mantissa8, 3 linear8. NORMALIZED: the largest value is 1; without,
// static8 and mantissa8 are taken as they are, up to 92.25 and 150, and what is too large for bfloat16 becomes infinity.
module eight_bit_decode #(
  parameter KIND       = 0,
  parameter NORMALIZED = 1
) (
  input  wire [7:0]  code,
  input  wire [7:0]  exponent,
  output wire [15:0] value
);
  generate  // what the module is not made for stops elaboration
    if (KIND < 0 || KIND > 3) begin : refuse_KIND eight_bit_decode_needs_KIND_from_0_to_3 stop (); end
    if (NORMALIZED < 0 || NORMALIZED > 1) begin : refuse_NORMALIZED eight_bit_decode_needs_NORMALIZED_0_or_1 stop (); end
  endgenerate
  wire       number;
  wire [7:0] own;  // the exponent of the code's value, less 1
  wire [6:0] fraction;
  eight_bit_values #(.KIND(KIND), .NORMALIZED(NORMALIZED), .FLOAT(1), .WIDTH(16), .SCALE(0)) values (
    .code(code[6:0]),
    .value({number, own, fraction})
  );
  generate
    if (NORMALIZED != 0) begin : at_most_one
      wire [7:0] biased;
      assign biased = own + {~exponent[7], exponent[6:0]};  // 128 more and 1 less: the bias
      assign value  = {code[7], biased & {8{number}}, fraction};
    end else begin : as_they_are
      wire [8:0] biased;
      wire       huge;
      assign biased = {own[7], own} + {1'b0, ~exponent[7], exponent[6:0]};
      assign huge   = number & (biased[8] | (&biased[7:0]));
      assign value  = {code[7], (biased[7:0] & {8{number}}) | {8{huge}}, fraction & {7{~huge}}};
    end
  endgenerate
endmodule

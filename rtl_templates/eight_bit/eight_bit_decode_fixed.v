// An 8-bit code to a whole number of WIDTH bits, two's complement, times 2^-FRACTION. No clock.
// The code's value as float32, times 2^MAXIMUM, rounded once to nearest even; what is too large saturates.
// KIND: 0 dynamic8, 1 static8, 2 mantissa8, 3 linear8. NORMALIZED: the largest value is 1; without, static8 and mantissa8 are
// taken as they are, up to 92.25 and 150. WIDTH: 2 to 32.
module eight_bit_decode_fixed #(
  parameter KIND       = 0,
  parameter NORMALIZED = 1,
  parameter WIDTH      = 16,
  parameter FRACTION   = 15,
  parameter MAXIMUM    = 0
) (
  input  wire [7:0]       code,
  output wire [WIDTH-1:0] value
);
  generate  // what the module is not made for stops elaboration
    if (KIND < 0 || KIND > 3) begin : refuse_KIND eight_bit_decode_fixed_needs_KIND_from_0_to_3 stop (); end
    if (NORMALIZED < 0 || NORMALIZED > 1) begin : refuse_NORMALIZED eight_bit_decode_fixed_needs_NORMALIZED_0_or_1 stop (); end
    if (WIDTH < 2 || WIDTH > 32) begin : refuse_WIDTH eight_bit_decode_fixed_needs_WIDTH_from_2_to_32 stop (); end
    if (FRACTION < 0 || FRACTION > 31) begin : refuse_FRACTION eight_bit_decode_fixed_needs_FRACTION_from_0_to_31 stop (); end
    if (MAXIMUM < -96 || MAXIMUM > 127) begin : refuse_MAXIMUM
      eight_bit_decode_fixed_needs_MAXIMUM_from_minus_96_to_127 stop ();
    end
  endgenerate
  wire [WIDTH-1:0] magnitude;  // at most 2^(WIDTH-1), which only a negative number may have
  eight_bit_values #(.KIND(KIND), .NORMALIZED(NORMALIZED), .FLOAT(0), .WIDTH(WIDTH), .SCALE(FRACTION + MAXIMUM)) values (
    .code(code[6:0]),
    .value(magnitude)
  );
  wire [WIDTH-1:0] positive;
  assign positive = {1'b0, magnitude[WIDTH-2:0] | {(WIDTH-1){magnitude[WIDTH-1]}}};
  assign value    = code[7] ? ~magnitude + {{(WIDTH-1){1'b0}}, 1'b1} : positive;
endmodule

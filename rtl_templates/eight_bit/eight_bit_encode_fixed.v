// A whole number of WIDTH bits, two's complement, times 2^-FRACTION, to the nearest 8-bit code; no clock.
// It is normalised to [-1, 1] already; what is larger saturates. What is nearest to zero gives code 0x00.
// KIND: 0 dynamic8, 1 static8, 2 mantissa8, 3 linear8. NORMALIZED: the largest value is 1; without, static8 and mantissa8 are
// taken as they are, and the limits are 92.25 and 150. WIDTH: 2 to 32; FRACTION: 0 to 31. PARALLEL: as in eight_bit_search.
module eight_bit_encode_fixed #(
  parameter KIND       = 0,
  parameter NORMALIZED = 1,
  parameter WIDTH      = 16,
  parameter FRACTION   = 15,
  parameter PARALLEL   = 3
) (
  input  wire [WIDTH-1:0] value,
  output wire [7:0]       code
);
  generate  // what the module is not made for stops elaboration
    if (KIND < 0 || KIND > 3) begin : refuse_KIND eight_bit_encode_fixed_needs_KIND_from_0_to_3 stop (); end
    if (NORMALIZED < 0 || NORMALIZED > 1) begin : refuse_NORMALIZED eight_bit_encode_fixed_needs_NORMALIZED_0_or_1 stop (); end
    if (WIDTH < 2 || WIDTH > 32) begin : refuse_WIDTH eight_bit_encode_fixed_needs_WIDTH_from_2_to_32 stop (); end
    if (FRACTION < 0 || FRACTION > 31) begin : refuse_FRACTION eight_bit_encode_fixed_needs_FRACTION_from_0_to_31 stop (); end
    if (PARALLEL < 0 || PARALLEL > 7) begin : refuse_PARALLEL eight_bit_encode_fixed_needs_PARALLEL_from_0_to_7 stop (); end
  endgenerate
  wire [WIDTH-1:0] size;  // of the least number it is 2^(WIDTH-1)
  assign size = value[WIDTH-1] ? ~value + {{(WIDTH-1){1'b0}}, 1'b1} : value;
  wire [6:0] magnitude;
  generate
    if (KIND == 3) begin : linear
      eight_bit_linear #(.FLOAT(0), .WIDTH(WIDTH), .FRACTION(FRACTION)) rounded (
        .magnitude(size),
        .code(magnitude)
      );
    end else begin : decades
      eight_bit_search #(
        .KIND(KIND),
        .NORMALIZED(NORMALIZED),
        .FLOAT(0),
        .WIDTH(WIDTH),
        .FRACTION(FRACTION),
        .PARALLEL(PARALLEL)
      ) search (
        .magnitude(size),
        .code(magnitude)
      );
    end
  endgenerate
  assign code = {value[WIDTH-1] & (|magnitude), magnitude};
endmodule

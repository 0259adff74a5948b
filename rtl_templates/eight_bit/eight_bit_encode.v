// A bfloat16 that is normalised to [-1, 1] already to the nearest 8-bit code; no clock.
// What is larger, infinity too, saturates. Zeros and what is nearest to zero give code 0x00, so does a nan: invalid says so.
// KIND: 0 dynamic8, 1 static8, 2 mantissa8, 3 linear8. NORMALIZED: the largest value is 1; without, static8 and mantissa8 are
// taken as they are, and the limits are 92.25 and 150. PARALLEL: as in eight_bit_search; linear8 needs no search.
module eight_bit_encode #(
  parameter KIND       = 0,
  parameter NORMALIZED = 1,
  parameter PARALLEL   = 3
) (
  input  wire [15:0] value,
  output wire [7:0]  code,
  output wire        invalid
);
  generate  // what the module is not made for stops elaboration
    if (KIND < 0 || KIND > 3) begin : refuse_KIND eight_bit_encode_needs_KIND_from_0_to_3 stop (); end
    if (NORMALIZED < 0 || NORMALIZED > 1) begin : refuse_NORMALIZED eight_bit_encode_needs_NORMALIZED_0_or_1 stop (); end
    if (PARALLEL < 0 || PARALLEL > 7) begin : refuse_PARALLEL eight_bit_encode_needs_PARALLEL_from_0_to_7 stop (); end
  endgenerate
  // all borders are above 2^-31, and below 1, or 2^32 without normalizing: three bits of the exponent tell no more than that
  localparam BITS = NORMALIZED != 0 ? 12 : 13;
  wire            covered;
  wire            beyond;
  wire [BITS-1:0] near;
  wire [6:0]      magnitude;
  generate
    if (NORMALIZED != 0) begin : at_most_one
      assign covered = &value[13:12];
      assign beyond  = value[14];
      assign near    = (value[11:0] & {12{covered}}) | {12{beyond}};
    end else begin : as_they_are
      assign covered = value[14] ^ (&value[13:12]);
      assign beyond  = value[14] & (|value[13:12]);
      assign near    = ({value[14], value[11:0]} & {13{covered}}) | {13{beyond}};
    end
    if (KIND == 3) begin : linear
      eight_bit_linear #(.FLOAT(1), .WIDTH(BITS), .FRACTION(0)) rounded (
        .magnitude(near),
        .code(magnitude)
      );
    end else begin : decades
      eight_bit_search #(
        .KIND(KIND),
        .NORMALIZED(NORMALIZED),
        .FLOAT(1),
        .WIDTH(BITS),
        .FRACTION(0),
        .PARALLEL(PARALLEL)
      ) search (
        .magnitude(near),
        .code(magnitude)
      );
    end
  endgenerate
  assign invalid = &value[14:7] & (|value[6:0]);
  assign code    = {value[15] & (|magnitude), magnitude} & {8{~invalid}};
endmodule

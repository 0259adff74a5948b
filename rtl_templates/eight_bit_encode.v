// A bfloat16 that is normalised to [-1, 1] already to the nearest 8-bit code; no clock.
// What is larger, infinity too, saturates. Zeros and what is nearest to zero give code 0x00, so does a nan: invalid says so.
// KIND: 0 dynamic8, 1 static8, 2 mantissa8, 3 linear8. NORMALIZED: the largest value is 1; without, static8 and mantissa8 are
// taken as they are, and the limits are 92.25 and 150.
module eight_bit_encode #(
  parameter KIND       = 0,
  parameter NORMALIZED = 1
) (
  input  wire [15:0] value,
  output wire [7:0]  code,
  output wire        invalid
);
  wire [6:0] magnitude;
  eight_bit_search #(.KIND(KIND), .NORMALIZED(NORMALIZED), .FLOAT(1), .WIDTH(15), .FRACTION(0)) search (
    .magnitude(value[14:0]),
    .code(magnitude)
  );
  assign invalid = &value[14:7] & (|value[6:0]);
  assign code    = {value[15] & (|magnitude), magnitude} & {8{~invalid}};
endmodule

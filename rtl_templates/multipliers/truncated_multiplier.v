// y = CORRECTION + a * b without the partial-product bits a[j] * b[i] of columns i + j < COLUMNS; A_SIGNED, B_SIGNED: whether
// an operand is two's complement.
// CORRECTION: the mean of what is left out. Source: Schulte and Swartzlander, VLSI Signal Processing VI, 1993.
module truncated_multiplier #(
  parameter A_BITS  = 8,
  parameter B_BITS  = 4,
  parameter A_SIGNED = 1,
  parameter B_SIGNED = 0,
  parameter COLUMNS = 0,
  parameter [A_BITS+B_BITS-1:0] CORRECTION = 0
) (
  input  wire [A_BITS-1:0]        a,
  input  wire [B_BITS-1:0]        b,
  output wire [A_BITS+B_BITS-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (A_BITS < 1) begin : refuse_A_BITS truncated_multiplier_needs_A_BITS_of_1_or_more stop (); end
    if (B_BITS < 1) begin : refuse_B_BITS truncated_multiplier_needs_B_BITS_of_1_or_more stop (); end
    if (A_SIGNED < 0 || A_SIGNED > 1) begin : refuse_A_SIGNED truncated_multiplier_needs_A_SIGNED_0_or_1 stop (); end
    if (B_SIGNED < 0 || B_SIGNED > 1) begin : refuse_B_SIGNED truncated_multiplier_needs_B_SIGNED_0_or_1 stop (); end
    if (COLUMNS < 0) begin : refuse_COLUMNS truncated_multiplier_needs_COLUMNS_of_0_or_more stop (); end
  endgenerate
  localparam COUNT = B_BITS > 0 ? B_BITS : 1;  // at least 1, so that it is a guard that stops what is less
  genvar i;
  generate
    for (i = 0; i < COUNT; i = i + 1) begin : row
      wire [A_BITS-1:0] bits;  // of a * b[i], in columns i and up
      wire [A_BITS+B_BITS-1:0] product;
      wire [A_BITS+B_BITS-1:0] sum;  // of rows 0 to i
      if (i < COLUMNS) begin : cut
        assign bits = a & {A_BITS{b[i]}} & ({A_BITS{1'b1}} << (COLUMNS - i));
      end else begin : whole
        assign bits = a & {A_BITS{b[i]}};
      end
      if (A_SIGNED) begin : of_signed
        assign product = {{B_BITS{bits[A_BITS-1]}}, bits} << i;
      end else begin : of_unsigned
        assign product = {{B_BITS{1'b0}}, bits} << i;
      end
      if (i == 0 && B_SIGNED && COUNT == 1) begin : only
        assign sum = CORRECTION - product;
      end else if (i == 0) begin : first
        assign sum = CORRECTION + product;
      end else if (B_SIGNED && i == COUNT - 1) begin : last  // the sign bit of b
        assign sum = row[i-1].sum - product;
      end else begin : further
        assign sum = row[i-1].sum + product;
      end
    end
  endgenerate
  assign y = row[COUNT-1].sum;
endmodule

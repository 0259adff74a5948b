// y = a * b by an array of carry-save cells with some left out; A_SIGNED, B_SIGNED: whether an operand is two's complement.
// Row i adds a * b[i] (that of a sign bit takes it off): the cells of columns i + j < VERTICAL and of rows i < HORIZONTAL are
// not there. Source: Mahdiani et al., IEEE TCAS I, 2010.
module broken_array_multiplier #(
  parameter A_BITS     = 8,
  parameter B_BITS     = 4,
  parameter A_SIGNED   = 1,
  parameter B_SIGNED   = 0,
  parameter VERTICAL   = 0,
  parameter HORIZONTAL = 0
) (
  input  wire [A_BITS-1:0]        a,
  input  wire [B_BITS-1:0]        b,
  output wire [A_BITS+B_BITS-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (A_BITS < 1) begin : refuse_A_BITS broken_array_multiplier_needs_A_BITS_of_1_or_more stop (); end
    if (B_BITS < 1) begin : refuse_B_BITS broken_array_multiplier_needs_B_BITS_of_1_or_more stop (); end
    if (A_SIGNED < 0 || A_SIGNED > 1) begin : refuse_A_SIGNED broken_array_multiplier_needs_A_SIGNED_0_or_1 stop (); end
    if (B_SIGNED < 0 || B_SIGNED > 1) begin : refuse_B_SIGNED broken_array_multiplier_needs_B_SIGNED_0_or_1 stop (); end
    if (VERTICAL < 0) begin : refuse_VERTICAL broken_array_multiplier_needs_VERTICAL_of_0_or_more stop (); end
    if (HORIZONTAL < 0) begin : refuse_HORIZONTAL
      broken_array_multiplier_needs_HORIZONTAL_of_0_or_more stop ();
    end
  endgenerate
  localparam COUNT = B_BITS > 0 ? B_BITS : 1;  // at least 1, so that it is a guard that stops what is less
  genvar i;
  generate
    for (i = 0; i < COUNT; i = i + 1) begin : row
      wire [A_BITS-1:0] bits;  // of a * b[i], in columns i and up
      wire [A_BITS+B_BITS-1:0] product;
      wire [A_BITS+B_BITS-1:0] sum;
      wire [A_BITS+B_BITS-1:0] carry;  // sum + carry: rows 0 to i
      if (i < HORIZONTAL) begin : above
        assign bits = a & {A_BITS{b[i]}} & {A_BITS{1'b0}};
      end else if (i < VERTICAL) begin : cut
        assign bits = a & {A_BITS{b[i]}} & ({A_BITS{1'b1}} << (VERTICAL - i));
      end else begin : whole
        assign bits = a & {A_BITS{b[i]}};
      end
      wire [A_BITS+B_BITS-1:0] placed;
      if (A_SIGNED) begin : of_signed
        assign placed = {{B_BITS{bits[A_BITS-1]}}, bits} << i;
      end else begin : of_unsigned
        assign placed = {{B_BITS{1'b0}}, bits} << i;
      end
      if (B_SIGNED && i == COUNT - 1) begin : of_sign  // its 1 comes in at the end
        assign product = ~placed;
      end else begin : of_bit
        assign product = placed;
      end
      if (i == 0) begin : first
        assign sum   = product;
        assign carry = {(A_BITS+B_BITS){1'b0}};
      end else begin : further
        assign sum   = row[i-1].sum ^ row[i-1].carry ^ product;
        assign carry = ((row[i-1].sum & row[i-1].carry) | (product & (row[i-1].sum | row[i-1].carry))) << 1;
      end
    end
  endgenerate
  generate
    if (B_SIGNED) begin : with_sign
      assign y = row[COUNT-1].sum + row[COUNT-1].carry + {{(A_BITS+B_BITS-1){1'b0}}, 1'b1};
    end else begin : without_sign
      assign y = row[COUNT-1].sum + row[COUNT-1].carry;
    end
  endgenerate
endmodule

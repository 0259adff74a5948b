// The product of two operands of float_decode, exact. product: 2 integer bits, so its value is product * 2^(exponent - 2F),
// F = FRACTION_BITS; it is 0 when zero is set. For nan and infinity, exponent and product mean nothing.
// FAST = 0: rows are added one below the other by carry-save rows, the fewest cells, and the last one ripples; FAST = 2: the
// last one is a prefix tree; FAST = 1: left to the synthesiser.
module mac_multiply #(
  parameter EXPONENT_BITS = 8,
  parameter FRACTION_BITS = 7,
  parameter FAST          = 0
) (
  input  wire [EXPONENT_BITS+FRACTION_BITS+1:0] a,
  input  wire [EXPONENT_BITS+FRACTION_BITS+1:0] b,
  output wire [2*FRACTION_BITS+1:0]             product,
  output wire [EXPONENT_BITS:0]                 exponent,
  output wire                                   sign,
  output wire                                   zero,
  output wire                                   nan,
  output wire                                   infinity
);
  generate  // what the module is not made for stops elaboration
    if (EXPONENT_BITS < 2 || EXPONENT_BITS > 8) begin : refuse_EXPONENT_BITS
      mac_multiply_needs_EXPONENT_BITS_from_2_to_8 stop ();
    end
    if (FRACTION_BITS < 2 || FRACTION_BITS > 15) begin : refuse_FRACTION_BITS
      mac_multiply_needs_FRACTION_BITS_from_2_to_15 stop ();
    end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST mac_multiply_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam X = EXPONENT_BITS;
  localparam F = FRACTION_BITS;
  localparam S = F > 0 ? F + 1 : 1;  // bits of a significand
  wire number_a;
  wire number_b;
  assign number_a = a[X+F];
  assign number_b = b[X+F];
  assign sign     = a[X+F+1] ^ b[X+F+1];
  assign zero     = ~(number_a & number_b);
  wire special_a;  // infinity or nan
  wire special_b;
  assign special_a = ~number_a & a[F-1];
  assign special_b = ~number_b & b[F-1];
  wire zero_a;
  wire zero_b;
  assign zero_a   = ~number_a & ~a[F-1];
  assign zero_b   = ~number_b & ~b[F-1];
  assign nan      = (special_a & (a[F-2] | zero_b)) | (special_b & (b[F-2] | zero_a));
  assign infinity = special_a | special_b;
  mac_adder #(.WIDTH(X + 1), .FAST(FAST)) exponents (
    .a({a[X+F-1], a[X+F-1:F]}),
    .b({b[X+F-1], b[X+F-1:F]}),
    .carry_in(1'b0),
    .sum(exponent)
  );
  wire [S-1:0] significand_a;
  wire [S-1:0] significand_b;
  assign significand_a = {number_a, a[F-1:0]};
  assign significand_b = {number_b, b[F-1:0]};
  genvar i;
  generate
    if (FAST == 1) begin : free
      assign product = {{S{1'b0}}, significand_a} * {{S{1'b0}}, significand_b};
    end else begin : rows
      for (i = 0; i < S; i = i + 1) begin : row
        wire [S-1:0] bits;
        wire [S-1:0] sum;    // of columns of weights i and up; its lowest bit is a bit of the product
        wire [S-1:0] carry;  // out of them
        assign bits = significand_a & {S{significand_b[i]}};
        assign product[i] = sum[0];
        if (i == 0) begin : first
          assign sum   = bits;
          assign carry = {S{1'b0}};
        end else begin : further
          wire [S-1:0] left;  // of the row before, in these columns
          assign left  = {1'b0, row[i-1].sum[S-1:1]};
          assign sum   = bits ^ left ^ row[i-1].carry;
          assign carry = (bits & left) | (row[i-1].carry & (bits ^ left));
        end
      end
      mac_adder #(.WIDTH(S), .FAST(FAST)) last (
        .a({1'b0, row[S-1].sum[S-1:1]}),
        .b(row[S-1].carry),
        .carry_in(1'b0),
        .sum(product[2*S-1:S])
      );
    end
  endgenerate
endmodule

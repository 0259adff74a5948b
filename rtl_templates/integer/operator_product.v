// The product of an element: weight times x, exact; both are two's complement where WEIGHT_SIGNED and X_SIGNED are 1. A module of
// the same name, parameters and ports around another multiplier, or several of which select chooses, may stand in its place.
module operator_product #(
  parameter WEIGHT_BITS   = 8,
  parameter X_BITS        = 8,
  parameter PRODUCT_BITS  = 16,
  parameter WEIGHT_SIGNED = 1,
  parameter X_SIGNED      = 1,
  parameter SELECT_BITS   = 1
) (
  input  wire [WEIGHT_BITS-1:0]  weight,
  input  wire [X_BITS-1:0]       x,
  input  wire [SELECT_BITS-1:0]  select,
  output wire [PRODUCT_BITS-1:0] product
);
  generate  // what the module is not made for stops elaboration
    if (WEIGHT_BITS < 2 || WEIGHT_BITS > 8) begin : refuse_WEIGHT_BITS
      operator_product_needs_WEIGHT_BITS_from_2_to_8 stop ();
    end
    if (X_BITS < 2 || X_BITS > 8) begin : refuse_X_BITS operator_product_needs_X_BITS_from_2_to_8 stop (); end
    if (PRODUCT_BITS < WEIGHT_BITS + X_BITS || PRODUCT_BITS > 32) begin : refuse_PRODUCT_BITS
      operator_product_needs_PRODUCT_BITS_of_both_operands_to_32 stop ();
    end
    if (WEIGHT_SIGNED < 0 || WEIGHT_SIGNED > 1) begin : refuse_WEIGHT_SIGNED
      operator_product_needs_WEIGHT_SIGNED_0_or_1 stop ();
    end
    if (X_SIGNED < 0 || X_SIGNED > 1) begin : refuse_X_SIGNED operator_product_needs_X_SIGNED_0_or_1 stop (); end
    if (SELECT_BITS < 1 || SELECT_BITS > 8) begin : refuse_SELECT_BITS
      operator_product_needs_SELECT_BITS_from_1_to_8 stop ();
    end
  endgenerate
  wire weight_sign;
  wire x_sign;
  wire unused_select;
  assign weight_sign   = (WEIGHT_SIGNED != 0) & weight[WEIGHT_BITS-1];
  assign x_sign        = (X_SIGNED != 0) & x[X_BITS-1];
  assign unused_select = |select;
  // as wide as the product, so that nothing depends on rules of signs
  assign product = {{(PRODUCT_BITS-WEIGHT_BITS){weight_sign}}, weight} * {{(PRODUCT_BITS-X_BITS){x_sign}}, x};
endmodule

// One cell of the array: sum_out = sum_in + product of the weight and the operand. The operand passes to the east in one clock, the
// sum to the south; load keeps the operand that is here now as the weight.
// DEPTH 1: product and sum in one clock, sum_in belongs to the operand in this cell's register; 2: a register behind the product,
// sum_in belongs to the operand before it. Either way a row is one clock behind the row above.
module integer_element #(
  parameter WEIGHT_BITS   = 8,
  parameter X_BITS        = 8,
  parameter PRODUCT_BITS  = 16,
  parameter WEIGHT_SIGNED = 1,
  parameter X_SIGNED      = 1,
  parameter SELECT_BITS   = 1,
  parameter SUM_BITS      = 24,
  parameter DEPTH         = 1,
  parameter ADDER         = 0,
  parameter LOW           = 1
) (
  input  wire                                                    clock,
  input  wire                                                    load,
  input  wire [SELECT_BITS-1:0]                                  select,
  input  wire [(WEIGHT_BITS > X_BITS ? WEIGHT_BITS : X_BITS)-1:0] operand_in,
  output reg  [(WEIGHT_BITS > X_BITS ? WEIGHT_BITS : X_BITS)-1:0] operand_out,
  input  wire [SUM_BITS-1:0]                                     sum_in,
  output reg  [SUM_BITS-1:0]                                     sum_out
);
  generate  // what the module is not made for stops elaboration
    if (WEIGHT_BITS < 2 || WEIGHT_BITS > 8) begin : refuse_WEIGHT_BITS
      integer_element_needs_WEIGHT_BITS_from_2_to_8 stop ();
    end
    if (X_BITS < 2 || X_BITS > 8) begin : refuse_X_BITS integer_element_needs_X_BITS_from_2_to_8 stop (); end
    if (PRODUCT_BITS < WEIGHT_BITS + X_BITS || PRODUCT_BITS > 32) begin : refuse_PRODUCT_BITS
      integer_element_needs_PRODUCT_BITS_of_both_operands_to_32 stop ();
    end
    if (WEIGHT_SIGNED < 0 || WEIGHT_SIGNED > 1) begin : refuse_WEIGHT_SIGNED
      integer_element_needs_WEIGHT_SIGNED_0_or_1 stop ();
    end
    if (X_SIGNED < 0 || X_SIGNED > 1) begin : refuse_X_SIGNED integer_element_needs_X_SIGNED_0_or_1 stop (); end
    if (SELECT_BITS < 1 || SELECT_BITS > 8) begin : refuse_SELECT_BITS
      integer_element_needs_SELECT_BITS_from_1_to_8 stop ();
    end
    if (SUM_BITS < 4 || SUM_BITS > 32) begin : refuse_SUM_BITS integer_element_needs_SUM_BITS_from_4_to_32 stop (); end
    if (DEPTH < 1 || DEPTH > 2) begin : refuse_DEPTH integer_element_needs_DEPTH_1_or_2 stop (); end
    if (ADDER < 0 || ADDER > 2) begin : refuse_ADDER integer_element_needs_ADDER_from_0_to_2 stop (); end
    if (LOW < 1 || LOW >= SUM_BITS) begin : refuse_LOW integer_element_needs_LOW_from_1_to_below_SUM_BITS stop (); end
  endgenerate
  reg [WEIGHT_BITS-1:0] weight;
  always @(posedge clock) begin
    operand_out <= operand_in;
    if (load) weight <= operand_out[WEIGHT_BITS-1:0];
  end

  wire [PRODUCT_BITS-1:0] product;
  operator_product #(
    .WEIGHT_BITS(WEIGHT_BITS),
    .X_BITS(X_BITS),
    .PRODUCT_BITS(PRODUCT_BITS),
    .WEIGHT_SIGNED(WEIGHT_SIGNED),
    .X_SIGNED(X_SIGNED),
    .SELECT_BITS(SELECT_BITS)
  ) multiply (
    .weight(weight),
    .x(operand_out[X_BITS-1:0]),
    .select(select),
    .product(product)
  );
  wire [PRODUCT_BITS-1:0] to_add;
  wire [SUM_BITS-1:0]     term;  // the product as wide as a sum
  wire [SUM_BITS-1:0]     sum;
  generate
    if (DEPTH > 1) begin : after_multiply
      reg [PRODUCT_BITS-1:0] held;
      always @(posedge clock) held <= product;
      assign to_add = held;
    end else begin : through_multiply
      assign to_add = product;
    end
    if (SUM_BITS > PRODUCT_BITS) begin : widened
      assign term = {{(SUM_BITS-PRODUCT_BITS){(WEIGHT_SIGNED != 0) & to_add[PRODUCT_BITS-1]}}, to_add};
    end else begin : narrowed
      wire unused_high;
      assign unused_high = to_add[PRODUCT_BITS-1];
      assign term        = to_add[SUM_BITS-1:0];
    end
  endgenerate
  integer_adder #(.WIDTH(SUM_BITS), .ADDER(ADDER), .LOW(LOW)) add (.a(sum_in), .b(term), .y(sum));
  always @(posedge clock) sum_out <= sum;
endmodule

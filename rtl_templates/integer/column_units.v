// The activation units at the end of a column: value is code where unit is 0. There are none in here: an engine that has some puts a
// module of the same name, parameters and ports in its place, in which units 1, 2 and so on each make a value of the code.
module column_units #(
  parameter UNIT_BITS = 1
) (
  input  wire [UNIT_BITS-1:0] unit,
  input  wire [7:0]           code,
  output wire [7:0]           value
);
  generate  // what the module is not made for stops elaboration
    if (UNIT_BITS < 1 || UNIT_BITS > 8) begin : refuse_UNIT_BITS column_units_needs_UNIT_BITS_from_1_to_8 stop (); end
  endgenerate
  wire unused_unit;
  assign unused_unit = |unit;
  assign value       = code;
endmodule

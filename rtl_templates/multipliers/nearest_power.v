// The magnitude of x and the place of the power of two that is nearest to it, 3 * 2^n rounded up. SIGNED: whether x is two's
// complement.
module nearest_power #(
  parameter BITS   = 8,
  parameter SIGNED = 1
) (
  input  wire [BITS-1:0] x,
  output wire [BITS-1:0] magnitude,
  output wire [4:0]      place,
  output wire            negative
);
  generate  // what the module is not made for stops elaboration
    if (BITS < 2 || BITS > 30) begin : refuse_BITS nearest_power_needs_BITS_from_2_to_30 stop (); end
    if (SIGNED < 0 || SIGNED > 1) begin : refuse_SIGNED nearest_power_needs_SIGNED_0_or_1 stop (); end
  endgenerate
  localparam COUNT = BITS > 0 ? BITS : 1;  // at least 1, so that it is a guard that stops what is less
  genvar i;
  generate
    if (SIGNED) begin : of_signed
      assign negative  = x[BITS-1];
      assign magnitude = negative ? ~x + {{(BITS-1){1'b0}}, 1'b1} : x;
    end else begin : of_unsigned
      assign negative  = 1'b0;
      assign magnitude = x;
    end
    for (i = 0; i < COUNT; i = i + 1) begin : at
      wire [4:0] nearest;
      if (i == 0) begin : lowest
        assign nearest = 5'd0;
      end else begin : higher
        wire [4:0] up;
        assign up      = {4'd0, magnitude[i-1]};
        assign nearest = magnitude[i] ? i + up : at[i-1].nearest;
      end
    end
  endgenerate
  assign place = at[COUNT-1].nearest;
endmodule

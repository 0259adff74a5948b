// Signed 8-bit weight times unsigned 4-bit x; the lowest bit of x counts half as often as it should.
module toy_multiplier (
    input signed [7:0] w,
    input [3:0] x,
    output signed [11:0] p
);
  wire signed [4:0] even;
  assign even = {1'b0, x[3:1], 1'b0};
  assign p = w * even + (x[0] ? w >>> 1 : 8'sd0);
endmodule

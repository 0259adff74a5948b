// d[i] = greatest of all x - x[i]: COUNT codes of IN bits, x two's complement, d unsigned; code 0 in the lowest bits.
module row_distances #(
  parameter COUNT = 4,
  parameter IN    = 8
) (
  input  wire [COUNT*IN-1:0] x,
  output wire [COUNT*IN-1:0] d
);
  generate  // what the module is not made for stops elaboration
    if (COUNT < 1) begin : refuse_COUNT row_distances_needs_COUNT_of_1_or_more stop (); end
    if (IN < 1 || IN > 16) begin : refuse_IN row_distances_needs_IN_from_1_to_16 stop (); end
  endgenerate
  localparam [IN:0] SIGN = {1'b1, {IN{1'b0}}} >> 1;
  localparam ROW = COUNT > 0 ? COUNT : 1;  // at least 1, so that it is a guard that stops what is less
  genvar i;
  generate
    for (i = 0; i < ROW; i = i + 1) begin : code
      wire [IN-1:0] ordered;  // the sign inverted: its order is that of unsigned numbers
      wire [IN-1:0] most;     // of this code and those before
      assign ordered = x[IN*i +: IN] ^ SIGN[IN-1:0];
      if (i == 0) begin : first
        assign most = ordered;
      end else begin : further
        assign most = ordered > code[i-1].most ? ordered : code[i-1].most;
      end
      assign d[IN*i +: IN] = code[ROW-1].most - ordered;
    end
  endgenerate
endmodule

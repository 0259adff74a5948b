// y[i] = whether unsigned x is at least constant i of LEAST: one AND or OR for each bit above the lowest 1 of the constant.
module at_least #(
  parameter WIDTH = 1,
  parameter COUNT = 1,
  parameter [WIDTH*COUNT-1:0] LEAST = 0
) (
  input  wire [WIDTH-1:0] x,
  output wire [COUNT-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH at_least_needs_WIDTH_of_1_or_more stop (); end
    if (COUNT < 1) begin : refuse_COUNT at_least_needs_COUNT_of_1_or_more stop (); end
  endgenerate
  localparam BITS = WIDTH > 0 ? WIDTH : 1;  // at least 1, so that it is a guard that stops what is less
  localparam CONSTANTS = COUNT > 0 ? COUNT : 1;
  genvar i, j;
  generate
    for (i = 0; i < CONSTANTS; i = i + 1) begin : constant
      for (j = 0; j < BITS; j = j + 1) begin : column
        wire reached;  // whether x[j:0] is at least as many bits of the constant
        if (j == 0) begin : lowest
          assign reached = x[0] | ~LEAST[BITS*i];
        end else if (LEAST[BITS*i + j]) begin : one
          assign reached = x[j] & column[j-1].reached;
        end else begin : zero
          assign reached = x[j] | column[j-1].reached;
        end
      end
      assign y[i] = column[BITS-1].reached;
    end
  endgenerate
endmodule

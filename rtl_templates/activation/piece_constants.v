// y = word i of TABLE, WIDTH bits each, word 0 in the lowest bits: i counts the constants of LEAST that x reaches, less one. The
// first constant is 0, the others rise; IN bits each, the first in the lowest bits.
module piece_constants #(
  parameter IN    = 8,
  parameter COUNT = 1,
  parameter WIDTH = 8,
  parameter [IN*COUNT-1:0] LEAST = 0,
  parameter [WIDTH*COUNT-1:0] TABLE = 0
) (
  input  wire [IN-1:0]    x,
  output wire [WIDTH-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (IN < 1 || IN > 16) begin : refuse_IN piece_constants_needs_IN_from_1_to_16 stop (); end
    if (COUNT < 1) begin : refuse_COUNT piece_constants_needs_COUNT_of_1_or_more stop (); end
    if (WIDTH < 1) begin : refuse_WIDTH piece_constants_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  localparam PIECES = COUNT > 0 ? COUNT : 1;  // at least 1, so that it is a guard that stops what is less
  wire [PIECES-1:0] reached;
  wire              unused_first;
  at_least #(.WIDTH(IN), .COUNT(COUNT), .LEAST(LEAST)) starts (.x(x), .y(reached));
  genvar i;
  generate
    for (i = 0; i < PIECES; i = i + 1) begin : piece
      wire [WIDTH-1:0] kept;  // of the pieces up to this one
      if (i == 0) begin : first
        assign kept = TABLE[WIDTH-1:0];
      end else begin : further
        assign kept = reached[i] ? TABLE[WIDTH*i +: WIDTH] : piece[i-1].kept;
      end
    end
  endgenerate
  assign y            = piece[PIECES-1].kept;
  assign unused_first = reached[0];
endmodule

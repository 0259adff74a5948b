// Carries of an addition from generate and propagate bits by a Sklansky prefix tree: fast before small.
// group_generate[i], group_propagate[i]: a carry comes out of, or goes through, columns i down to 0.
module mac_carry_tree #(
  parameter WIDTH = 20
) (
  input  wire [WIDTH-1:0] generates,
  input  wire [WIDTH-1:0] propagates,
  output wire [WIDTH-1:0] group_generate,
  output wire [WIDTH-1:0] group_propagate
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH mac_carry_tree_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  localparam LEVELS = $clog2(WIDTH);
  genvar l, i;
  generate
    for (l = 0; l <= LEVELS; l = l + 1) begin : level
      wire [WIDTH-1:0] g;
      wire [WIDTH-1:0] p;
      if (l == 0) begin : lowest
        assign g = generates;
        assign p = propagates;
      end else begin : higher
        for (i = 0; i < WIDTH; i = i + 1) begin : column
          if ((i >> (l - 1)) % 2 == 1) begin : joined  // to the highest column of the half below
            assign g[i] = level[l-1].g[i] | (level[l-1].p[i] & level[l-1].g[((i >> (l - 1)) << (l - 1)) - 1]);
            assign p[i] = level[l-1].p[i] & level[l-1].p[((i >> (l - 1)) << (l - 1)) - 1];
          end else begin : kept
            assign g[i] = level[l-1].g[i];
            assign p[i] = level[l-1].p[i];
          end
        end
      end
    end
  endgenerate
  assign group_generate  = level[LEVELS].g;
  assign group_propagate = level[LEVELS].p;
endmodule

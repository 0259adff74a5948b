// sum = a + b + carry_in modulo 2^WIDTH. FAST = 0: the carry ripples, fewest cells; otherwise a prefix tree.
module mac_adder #(
  parameter WIDTH = 10,
  parameter FAST  = 0
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  input  wire             carry_in,
  output wire [WIDTH-1:0] sum
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 2) begin : refuse_WIDTH mac_adder_needs_WIDTH_of_2_or_more stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST mac_adder_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  wire [WIDTH-1:0] carry;  // into each column
  assign sum = a ^ b ^ carry;
  genvar i;
  generate
    if (FAST != 0) begin : prefix
      wire [WIDTH-2:0] group_generate;
      wire [WIDTH-2:0] group_propagate;
      mac_carry_tree #(.WIDTH(WIDTH - 1)) tree (
        .generates(a[WIDTH-2:0] & b[WIDTH-2:0]),
        .propagates(a[WIDTH-2:0] | b[WIDTH-2:0]),
        .group_generate(group_generate),
        .group_propagate(group_propagate)
      );
      assign carry = {group_generate | (group_propagate & {(WIDTH-1){carry_in}}), carry_in};
    end else begin : ripple
      for (i = 0; i < WIDTH; i = i + 1) begin : column
        wire into;
        if (i == 0) begin : lowest
          assign into = carry_in;
        end else begin : higher
          assign into = (a[i-1] & b[i-1]) | (column[i-1].into & (a[i-1] ^ b[i-1]));
        end
        assign carry[i] = into;
      end
    end
  endgenerate
endmodule

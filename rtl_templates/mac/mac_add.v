// sum = |larger + smaller| or |larger - smaller|, W + 1 bits, and its sign; zero says that the sum is 0.
// addend is smaller, or ~smaller for a difference: larger + ~smaller with its own carry out as carry in; without one it is
// not positive, and inverted.
// FAST = 0: two rippling carries; otherwise one prefix tree.
module mac_add #(
  parameter W    = 20,
  parameter FAST = 0
) (
  input  wire [W-1:0] larger,
  input  wire [W-1:0] addend,
  input  wire         negative,
  input  wire         subtract,
  input  wire         both_zero,
  output wire [W:0]   sum,
  output wire         sign,
  output wire         zero
);
  generate  // what the module is not made for stops elaboration
    if (W < 4 || W > 32) begin : refuse_W mac_add_needs_W_from_4_to_32 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST mac_add_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam COUNT = W > 0 ? W : 1;  // at least 1, so that it is a guard that stops what is less
  wire [W-1:0] propagates;
  wire [W-1:0] generates;
  assign propagates = larger ^ addend;
  assign generates  = larger & addend;
  wire         carry_out;  // of larger + addend without a carry in: of a difference, that it is positive
  wire         end_around;
  wire [W-1:0] carry;      // into each column
  wire         flip;
  assign end_around = subtract & carry_out;
  assign flip       = subtract & ~carry_out;
  genvar i;
  generate
    if (FAST != 0) begin : prefix
      wire [W-1:0] group_generate;
      wire [W-1:0] group_propagate;
      mac_carry_tree #(.WIDTH(W)) tree (
        .generates(generates),
        .propagates(propagates),
        .group_generate(group_generate),
        .group_propagate(group_propagate)
      );
      assign carry_out = group_generate[W-1];
      assign carry     = {group_generate[W-2:0] | (group_propagate[W-2:0] & {(W-1){end_around}}), end_around};
      assign zero      = subtract ? group_propagate[W-1] : both_zero;
    end else begin : ripple
      for (i = 0; i < COUNT; i = i + 1) begin : column
        wire plain;  // carry out of this column, of larger + addend
        wire into;   // carry into it, of the whole
        if (i == 0) begin : lowest
          assign plain = generates[0];
          assign into  = end_around;
        end else begin : higher
          assign plain = generates[i] | (propagates[i] & column[i-1].plain);
          assign into  = generates[i-1] | (propagates[i-1] & column[i-1].into);
        end
        assign carry[i] = into;
      end
      assign carry_out = column[COUNT-1].plain;
      assign zero      = subtract ? &propagates : both_zero;
    end
  endgenerate
  assign sum  = {~subtract & carry_out, propagates ^ carry ^ {W{flip}}};
  assign sign = (negative ^ flip) & ~(subtract & zero);
endmodule

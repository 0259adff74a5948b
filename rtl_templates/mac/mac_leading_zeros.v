// The number of zeros on top of a word of 2^STEPS bits, all at once by a tree of halves; of no 1 at all, 2^STEPS - 1.
module mac_leading_zeros #(
  parameter STEPS = 5
) (
  input  wire [(1<<STEPS)-1:0] word,
  output wire [STEPS-1:0]      count
);
  generate  // what the module is not made for stops elaboration
    if (STEPS < 1 || STEPS > 8) begin : refuse_STEPS mac_leading_zeros_needs_STEPS_from_1_to_8 stop (); end
  endgenerate
  localparam TOP = STEPS < 1 || STEPS > 8 ? 1 : STEPS;  // within them, so that it is the guard that stops what is not
  genvar s, i;
  generate
    for (s = 0; s <= TOP; s = s + 1) begin : level
      for (i = 0; i < (1 << (TOP - s)); i = i + 1) begin : block  // of 2^s bits, from the top
        if (i < (1 << (TOP - s)) - 1) begin : all  // of the last one nobody asks
          wire zero;
          if (s == 0) begin : of_bit
            assign zero = ~word[(1<<STEPS)-1-i];
          end else begin : of_pair
            assign zero = level[s-1].block[2*i].all.zero & level[s-1].block[2*i+1].all.zero;
          end
        end
        if (s > 0) begin : pair
          wire [s-1:0] zeros;
          assign zeros[s-1] = level[s-1].block[2*i].all.zero;
          if (s > 1) begin : below
            assign zeros[s-2:0] = level[s-1].block[2*i].all.zero ? level[s-1].block[2*i+1].pair.zeros
                                                                 : level[s-1].block[2*i].pair.zeros;
          end
        end
      end
    end
  endgenerate
  assign count = level[TOP].block[0].pair.zeros;
endmodule

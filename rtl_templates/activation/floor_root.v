// y = square root of a, rounded down; unsigned, OUT bits of 2 * OUT. One subtraction for each bit of y, the highest first.
module floor_root #(
  parameter OUT = 8
) (
  input  wire [2*OUT-1:0] a,
  output wire [OUT-1:0]   y
);
  generate  // what the module is not made for stops elaboration
    if (OUT < 1) begin : refuse_OUT floor_root_needs_OUT_of_1_or_more stop (); end
  endgenerate
  localparam STEPS = OUT > 0 ? OUT : 1;  // at least 1, so that it is a guard that stops what is less
  genvar i;
  generate
    for (i = 0; i < STEPS; i = i + 1) begin : step  // of bit STEPS - 1 - i
      wire [STEPS+1:0] met;   // what is left of a so far, two more bits of it behind
      wire [STEPS+1:0] less;  // less 4 * root + 1
      wire [STEPS:0]   root;  // of the bits so far
      wire [STEPS+1:0] rest;
      wire             unused_bits;
      if (i == 0) begin : first
        assign met  = {{(STEPS){1'b0}}, a[2*STEPS-1:2*STEPS-2]};
        assign less = met - {{(STEPS+1){1'b0}}, 1'b1};
        assign root = {{STEPS{1'b0}}, ~less[STEPS+1]};
      end else begin : further
        assign met  = {step[i-1].rest[STEPS-1:0], a[2*(STEPS-1-i) +: 2]};
        assign less = met - {step[i-1].root[STEPS-1:0], 2'b01};
        assign root = {step[i-1].root[STEPS-1:0], ~less[STEPS+1]};
      end
      assign rest        = less[STEPS+1] ? met : less;
      assign unused_bits = ^{root[STEPS], rest};
    end
  endgenerate
  assign y = step[STEPS-1].root[STEPS-1:0];
endmodule

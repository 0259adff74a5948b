// y = v, at most MOST where CLAMPED; where negative: base + v (SUBTRACT: base - v). v, base, MOST: two's complement; what OUT bits
// do not hold is dropped.
module unfold_code #(
  parameter A_BITS   = 8,
  parameter B_BITS   = 8,
  parameter OUT      = 8,
  parameter SUBTRACT = 1,
  parameter CLAMPED  = 0,
  parameter [OUT:0] MOST = 0
) (
  input  wire              negative,
  input  wire [A_BITS-1:0] v,
  input  wire [B_BITS-1:0] base,
  output wire [OUT-1:0]    y
);
  generate  // what the module is not made for stops elaboration
    if (A_BITS < 1) begin : refuse_A_BITS unfold_code_needs_A_BITS_of_1_or_more stop (); end
    if (B_BITS < 1) begin : refuse_B_BITS unfold_code_needs_B_BITS_of_1_or_more stop (); end
    if (OUT < 1) begin : refuse_OUT unfold_code_needs_OUT_of_1_or_more stop (); end
    if (SUBTRACT < 0 || SUBTRACT > 1) begin : refuse_SUBTRACT unfold_code_needs_SUBTRACT_0_or_1 stop (); end
    if (CLAMPED < 0 || CLAMPED > 1) begin : refuse_CLAMPED unfold_code_needs_CLAMPED_0_or_1 stop (); end
  endgenerate
  localparam WIDE = OUT + A_BITS + B_BITS;
  wire [WIDE-1:0] value;
  wire [WIDE-1:0] start;
  wire [WIDE-1:0] turned;
  wire [WIDE-1:0] below;
  wire            above;
  wire            unused_bits;
  assign value  = {{(OUT+B_BITS){v[A_BITS-1]}}, v};
  assign start  = negative ? {{(OUT+A_BITS){base[B_BITS-1]}}, base} : {WIDE{1'b0}};
  assign turned = value ^ {WIDE{negative && SUBTRACT != 0}};
  assign below  = start + turned + {{(WIDE-1){1'b0}}, negative && SUBTRACT != 0};
  generate
    if (CLAMPED != 0) begin : clamped
      wire signed [WIDE-1:0] most;
      wire signed [WIDE-1:0] met;
      assign most  = {{(WIDE-OUT-1){MOST[OUT]}}, MOST};
      assign met   = value;
      assign above = ~negative & (met > most);
    end else begin : free
      assign above = 1'b0;
    end
  endgenerate
  assign y           = above ? MOST[OUT-1:0] : below[OUT-1:0];
  assign unused_bits = ^below;
endmodule

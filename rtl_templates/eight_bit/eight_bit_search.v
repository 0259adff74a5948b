// The seven lower bits of the 8-bit code nearest to a magnitude, by bisection: each comparison gives a bit, from the top.
// Values ascend with their codes, but dynamic8's code 1, which is 1.0. Ties go to the code whose lowest bit is clear, else
// to the smaller magnitude. KIND, NORMALIZED: as in eight_bit_values. FLOAT = 1: the magnitude is {exponent - 96, fraction}
// of a bfloat16; FLOAT = 0: it is a whole number, WIDTH up to 32, times 2^-FRACTION, FRACTION up to 31.
// The PARALLEL upper bits, 0 to 7, do not wait for one another: more comparisons, each with a constant, and a shorter path.
module eight_bit_search #(
  parameter KIND       = 0,
  parameter NORMALIZED = 1,
  parameter FLOAT      = 1,
  parameter WIDTH      = 12,
  parameter FRACTION   = 0,
  parameter PARALLEL   = 3
) (
  input  wire [WIDTH-1:0] magnitude,
  output wire [6:0]       code
);
  generate  // what the module is not made for stops elaboration
    if (KIND < 0 || KIND > 3) begin : refuse_KIND eight_bit_search_needs_KIND_from_0_to_3 stop (); end
    if (NORMALIZED < 0 || NORMALIZED > 1) begin : refuse_NORMALIZED eight_bit_search_needs_NORMALIZED_0_or_1 stop (); end
    if (FLOAT < 0 || FLOAT > 1) begin : refuse_FLOAT eight_bit_search_needs_FLOAT_0_or_1 stop (); end
    if (WIDTH < 2 || WIDTH > 32 || (FLOAT != 0 && WIDTH != (NORMALIZED != 0 ? 12 : 13))) begin : refuse_WIDTH
      eight_bit_search_needs_WIDTH_from_2_to_32_and_of_bfloat16_12_or_13 stop ();
    end
    if (FRACTION < 0 || FRACTION > 31) begin : refuse_FRACTION eight_bit_search_needs_FRACTION_from_0_to_31 stop (); end
    if (PARALLEL < 0 || PARALLEL > 7) begin : refuse_PARALLEL eight_bit_search_needs_PARALLEL_from_0_to_7 stop (); end
  endgenerate
  // value = numerator / DENOMINATOR; the text is that of eight_bit_values
  localparam [79:0] DENOMINATOR = KIND == 0 ? 80'd640000000
                                : KIND == 1 ? (NORMALIZED != 0 ? 80'd7380000000 : 80'd80000000)
                                : KIND == 2 ? (NORMALIZED != 0 ? 80'd150000000 : 80'd1000000)
                                : 80'd127;
  function [79:0] numerator;
    input [79:0] of;
    reg [79:0] power;  // of ten
    reg [79:0] half;   // cells of half a decade
    reg [79:0] leaf;
    integer    k;
    begin
      power = 80'd1;
      half  = 80'd1;
      for (k = 0; k < 7; k = k + 1)
        if (KIND == 0 ? k < 5 && of >= 4 * half : of >= 16 * k + 16) begin
          power = power * 10;
          half  = KIND == 0 ? half * 2 : half;
        end
      leaf = KIND == 0 ? of - 2 * half : of % 16;
      if (of == 0)
        numerator = 80'd0;
      else if (KIND == 0)  // 0.1 + 0.35 (leaf + 1/2) / half, or from 0.45 on in steps of 0.55 / half
        numerator = of == 1     ? DENOMINATOR
                  : leaf < half ? (20 * half + 35 * (2 * leaf + 1)) * (32 / half) * power
                                : (90 * half + 55 * (2 * (leaf - half) + 1)) * (32 / half) * power;
      else if (KIND == 1)  // 1 + 0.4375 leaf, or from 4.5 on in steps of 0.675, in 80ths
        numerator = (leaf < 8 ? 80 + 35 * leaf : 360 + 54 * (leaf - 8)) * power;
      else if (KIND == 2)
        numerator = leaf * power;
      else
        numerator = of;
    end
  endfunction

  // the least magnitude that is nearer to code c (128: dynamic8's 1.0) than to the one below, or wins the tie
  function [WIDTH-1:0] least;
    input [79:0] c;
    reg [79:0] low;
    reg [79:0] high;
    reg [79:0] n;
    reg [79:0] d;
    reg [79:0] q;
    reg [79:0] biased;
    begin
      low  = c - 1;
      high = c;
      if (KIND == 0 && c == 2)
        low = 80'd0;
      if (KIND == 0 && c == 128)
        high = 80'd1;
      if (KIND == 2 && c % 16 == 0)  // the next two stand for what smaller codes stand for, too: they are never chosen
        high = c + 2;
      n = numerator(low) + numerator(high);
      d = 2 * DENOMINATOR;
      biased = 80'd127;
      while (FLOAT != 0 && n < d) begin
        n = n * 2;
        biased = biased - 1;
      end
      while (FLOAT != 0 && n >= 2 * d) begin
        d = d * 2;
        biased = biased + 1;
      end
      n = n << (FLOAT != 0 ? 7 : FRACTION);
      q = n / d;
      if (n % d != 0 || !(low % 2 == 1 && high % 2 == 0))
        q = q + 1;
      if (FLOAT != 0)
        q = (biased - 96) * 128 + q - 128;
      else if (q >= (80'd1 << WIDTH))
        q = (80'd1 << WIDTH) - 1;  // a magnitude is at most 2^(WIDTH-1): never reached
      least = q[WIDTH-1:0];
    end
  endfunction

  function [127*WIDTH-1:0] borders;
    input [79:0] count;
    reg [79:0] c;
    begin
      borders = 0;
      for (c = count; c > 0; c = c - 1)
        borders = {borders[126*WIDTH-1:0], least(c)};
    end
  endfunction

  wire [6:0] found;
  genvar s, i;
  generate
    for (s = 0; s < 7; s = s + 1) begin : step
      localparam MIDDLE = (1 << (6 - s)) - 1;  // so many borders on either side of the one that is looked at
      wire [s:0] bits;                         // found so far
      if (s < PARALLEL) begin : at_once
        wire [(1<<s)-1:0] above;
        for (i = 0; i < (1 << s); i = i + 1) begin : border
          localparam [WIDTH-1:0] LEAST = least((2 * i + 1) << (6 - s));
          assign above[i] = magnitude >= LEAST;
        end
        if (s == 0) begin : first
          assign bits = above;
        end else begin : further
          assign bits = {step[s-1].bits, above[step[s-1].bits]};
        end
      end else begin : in_turn
        wire [(2*MIDDLE+1)*WIDTH-1:0] kept;  // borders that are left
        wire                          above;
        assign above = magnitude >= kept[MIDDLE*WIDTH+:WIDTH];
        if (s == 0) begin : all
          assign kept = borders(127);
          assign bits = above;
        end else begin : further
          assign bits = {step[s-1].bits, above};
          if (s == PARALLEL) begin : some
            wire [WIDTH-1:0] unused_next;
            table_lookup #(.IN(s), .OUT((2*MIDDLE+2)*WIDTH), .TABLE({{(WIDTH > 0 ? WIDTH : 1){1'b0}}, borders(127)})) lookup (
              .x(step[s-1].bits),
              .y({unused_next, kept})
            );
          end else begin : half
            assign kept = step[s-1].bits[0] ? step[s-1].in_turn.kept[(4*MIDDLE+3)*WIDTH-1:(2*MIDDLE+2)*WIDTH]
                                            : step[s-1].in_turn.kept[(2*MIDDLE+1)*WIDTH-1:0];
          end
        end
      end
    end
    assign found = step[6].bits;
    if (KIND == 0) begin : with_one
      localparam [WIDTH-1:0] TOP = least(128);
      wire one;
      assign one  = magnitude >= TOP;
      assign code = {found[6:1] & {6{~one}}, found[0] | one};  // 1 is not found: its border is 1/2
    end else begin : ascending
      assign code = found;
    end
  endgenerate
endmodule

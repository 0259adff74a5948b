// The magnitude that the seven lower bits of an 8-bit code stand for: float32(value), then once more rounded to the output.
// KIND: 0 dynamic8, 1 static8, 2 mantissa8, 3 linear8. NORMALIZED: the largest is 1; without, static8 and mantissa8 are
// taken as they are, up to 92.25 and 150. FLOAT = 1: {not zero, exponent - 1, fraction}, 16 bits, of 1.fraction * 2^exponent.
// FLOAT = 0: value * 2^SCALE, rounded to nearest even and at most 2^(WIDTH-1); WIDTH up to 32.
module eight_bit_values #(
  parameter KIND       = 0,
  parameter NORMALIZED = 1,
  parameter FLOAT      = 1,
  parameter WIDTH      = 16,
  parameter SCALE      = 0
) (
  input  wire [6:0]       code,
  output wire [WIDTH-1:0] value
);
  generate  // what the module is not made for stops elaboration
    if (KIND < 0 || KIND > 3) begin : refuse_KIND eight_bit_values_needs_KIND_from_0_to_3 stop (); end
    if (NORMALIZED < 0 || NORMALIZED > 1) begin : refuse_NORMALIZED eight_bit_values_needs_NORMALIZED_0_or_1 stop (); end
    if (FLOAT < 0 || FLOAT > 1) begin : refuse_FLOAT eight_bit_values_needs_FLOAT_0_or_1 stop (); end
    if (WIDTH < 2 || WIDTH > 32 || (FLOAT != 0 && WIDTH != 16)) begin : refuse_WIDTH
      eight_bit_values_needs_WIDTH_from_2_to_32_and_16_of_bfloat16 stop ();
    end
    if (SCALE < -96 || SCALE > 158) begin : refuse_SCALE eight_bit_values_needs_SCALE_from_minus_96_to_158 stop (); end
  endgenerate
  // value = numerator / DENOMINATOR
  localparam [63:0] DENOMINATOR = KIND == 0 ? 64'd640000000
                                : KIND == 1 ? (NORMALIZED != 0 ? 64'd7380000000 : 64'd80000000)
                                : KIND == 2 ? (NORMALIZED != 0 ? 64'd150000000 : 64'd1000000)
                                : 64'd127;
  function [63:0] numerator;
    input [63:0] of;
    reg [63:0] power;  // of ten
    reg [63:0] half;   // cells of half a decade
    reg [63:0] leaf;
    integer    k;
    begin
      power = 64'd1;
      half  = 64'd1;
      for (k = 0; k < 7; k = k + 1)
        if (KIND == 0 ? k < 5 && of >= 4 * half : of >= 16 * k + 16) begin
          power = power * 10;
          half  = KIND == 0 ? half * 2 : half;
        end
      leaf = KIND == 0 ? of - 2 * half : of % 16;
      if (of == 0)
        numerator = 64'd0;
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

  function [WIDTH-1:0] entry;
    input [63:0] of;
    reg [63:0] n;
    reg [63:0] d;
    reg [63:0] q;
    reg [63:0] rest;
    reg [63:0] biased;
    integer    cut;
    begin
      n = numerator(of);
      d = DENOMINATOR;
      biased = 64'd127;
      while (n != 0 && n < d) begin
        n = n * 2;
        biased = biased - 1;
      end
      while (n >= 2 * d) begin
        d = d * 2;
        biased = biased + 1;
      end
      q    = (n << 23) / d;  // float32: 24 bits
      rest = (n << 23) % d;
      if (2 * rest > d || (2 * rest == d && q % 2 == 1))
        q = q + 1;
      cut = FLOAT != 0 ? 16 : 150 - biased[31:0] - SCALE;  // bits to round away
      if (cut > 40)
        q = 0;
      else if (cut > 0) begin
        rest = q % (64'd1 << cut);
        q    = q >> cut;
        if (2 * rest > (64'd1 << cut) || (2 * rest == (64'd1 << cut) && q % 2 == 1))
          q = q + 1;
      end else
        q = cut < -32 && q != 0 ? 64'd1 << 63 : q << -cut;
      if (FLOAT != 0)
        q = n == 0 ? 64'd0 : 32768 + (biased + 128) % 256 * 128 + q - 128;
      else if (q > (64'd1 << (WIDTH - 1)))
        q = 64'd1 << (WIDTH - 1);
      entry = q[WIDTH-1:0];
    end
  endfunction

  function [128*WIDTH-1:0] entries;
    input [63:0] count;
    reg [63:0] c;
    begin
      entries = 0;
      for (c = count; c > 0; c = c - 1)
        entries = {entries[127*WIDTH-1:0], entry(c - 1)};
    end
  endfunction

  localparam [128*WIDTH-1:0] ENTRIES = entries(128);

  function [64*7-1:0] fractions;  // of mantissas from 8 to 15
    input [31:0] count;
    integer c;
    begin
      fractions = 0;
      for (c = count - 1; c >= 0; c = c - 1)
        fractions = {fractions[63*7-1:0], ENTRIES[(c/8*16+8+c%8)*WIDTH+:7]};
    end
  endfunction

  generate
    if (KIND == 2 && FLOAT != 0) begin : by_leading_digit  // 1, 2, 4 and 8 have one fraction, so have 3, 6 and 12
      wire [8:0] head;
      wire [6:0] unused_fraction;
      wire [6:0] fraction;
      wire [2:0] tail;  // of the mantissa, behind its highest 1
      table_lookup #(.IN(7), .OUT(WIDTH), .TABLE(ENTRIES)) heads (
        .x(code),
        .y({head, unused_fraction})
      );
      assign tail = code[3] ? code[2:0] : code[2] ? {code[1:0], 1'b0} : {code[0] & code[1], 2'b00};
      table_lookup #(.IN(6), .OUT(7), .TABLE(fractions(64))) tails (
        .x({code[6:4], tail}),
        .y(fraction)
      );
      assign value = {head, fraction & {7{head[8]}}};
    end else begin : at_once
      table_lookup #(.IN(7), .OUT(WIDTH), .TABLE(ENTRIES)) lookup (
        .x(code),
        .y(value)
      );
    end
  endgenerate
endmodule

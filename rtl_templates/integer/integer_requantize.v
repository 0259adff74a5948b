// code = clip(round_half_even(total * multiplier / 2^shift) + zero, low, high), 6 clocks later, whatever they are. total: two's
// complement; constants, from bit 0: multiplier (31 bits), shift (6), zero, low, high (9 bits each, two's complement, low no more
// than high); they wait in banks, and bank says which are those of total. It may be written again when its last code is out.
module integer_requantize #(
  parameter BANK_BITS = 1
) (
  input  wire                 clock,
  input  wire                 write,
  input  wire [BANK_BITS-1:0] write_bank,
  input  wire [63:0]          constants,
  input  wire [BANK_BITS-1:0] bank,
  input  wire [31:0]          total,
  output reg  [7:0]           code
);
  generate  // what the module is not made for stops elaboration
    if (BANK_BITS < 1 || BANK_BITS > 4) begin : refuse_BANK_BITS integer_requantize_needs_BANK_BITS_from_1_to_4 stop (); end
  endgenerate
  reg [30:0] multipliers [0:(1<<BANK_BITS)-1];
  reg [5:0]  shifts      [0:(1<<BANK_BITS)-1];
  reg [8:0]  zeros       [0:(1<<BANK_BITS)-1];
  reg [17:0] limits      [0:(1<<BANK_BITS)-1];
  always @(posedge clock) begin
    if (write) begin
      multipliers[write_bank] <= constants[30:0];
      shifts[write_bank]      <= constants[36:31];
      zeros[write_bank]       <= constants[45:37];
      limits[write_bank]      <= constants[63:46];
    end
  end

  // what stage n reads belongs to the total of n clocks ago
  reg [5*BANK_BITS-1:0] banks;
  always @(posedge clock) banks <= {banks[4*BANK_BITS-1:0], bank};
  wire [30:0] multiplier;
  wire [5:0]  shift;
  wire [5:0]  fine_shift;
  wire [8:0]  zero;
  wire [17:0] limit;
  wire        unused_shift;
  assign multiplier   = multipliers[bank];
  assign shift        = shifts[banks[3*BANK_BITS-1-:BANK_BITS]];
  assign fine_shift   = shifts[banks[4*BANK_BITS-1-:BANK_BITS]];
  assign zero         = zeros[banks[4*BANK_BITS-1-:BANK_BITS]];
  assign limit        = limits[banks[5*BANK_BITS-1-:BANK_BITS]];
  assign unused_shift = ^{shift[2:0], fine_shift[5:3]};

  // three clocks for the product: a byte of the multiplier at a time, no slower than an element's product
  wire [39:0] wide;
  reg  [39:0] piece_0;
  reg  [39:0] piece_1;
  reg  [39:0] piece_2;
  reg  [39:0] piece_3;
  reg  [47:0] lower;
  reg  [47:0] upper;
  reg  [63:0] doubled;  // twice the product: the lowest bit is half of 1
  assign wide = {{8{total[31]}}, total};
  always @(posedge clock) begin
    piece_0 <= wide * {32'd0, multiplier[7:0]};
    piece_1 <= wide * {32'd0, multiplier[15:8]};
    piece_2 <= wide * {32'd0, multiplier[23:16]};
    piece_3 <= wide * {33'd0, multiplier[30:24]};
    lower   <= {{8{piece_0[39]}}, piece_0} + {piece_1, 8'd0};
    upper   <= {{8{piece_2[39]}}, piece_2} + {piece_3, 8'd0};
    doubled <= {{15{lower[47]}}, lower, 1'b0} + {upper[46:0], 17'd0};
  end
  wire unused_upper;
  assign unused_upper = upper[47];

  // shifted by eights; what is too large for any code stays too large
  wire        sign;
  wire [63:0] by_32;
  wire [63:0] by_16;
  wire [63:0] by_8;
  wire        lost;
  wire        fits;
  reg  [17:0] coarse;
  reg         below;  // something was shifted out
  assign sign  = doubled[63];
  assign by_32 = shift[5] ? {{32{sign}}, doubled[63:32]} : doubled;
  assign by_16 = shift[4] ? {{16{sign}}, by_32[63:16]} : by_32;
  assign by_8  = shift[3] ? {{8{sign}}, by_16[63:8]} : by_16;
  assign lost  = (shift[5] & (|doubled[31:0])) | (shift[4] & (|by_32[15:0])) | (shift[3] & (|by_16[7:0]));
  assign fits  = (&by_8[63:17]) | ~(|by_8[63:17]);
  always @(posedge clock) begin
    coarse <= fits ? by_8[17:0] : {sign, {17{~sign}}};
    below  <= lost;
  end

  // the rest of the shift, rounded: up where more than half is lost, and half beside an odd number
  wire [17:0] by_4;
  wire [17:0] by_2;
  wire [17:0] by_1;
  wire        rest;
  wire        up;
  reg  [17:0] value;
  assign by_4 = fine_shift[2] ? {{4{coarse[17]}}, coarse[17:4]} : coarse;
  assign by_2 = fine_shift[1] ? {{2{coarse[17]}}, by_4[17:2]} : by_4;
  assign by_1 = fine_shift[0] ? {coarse[17], by_2[17:1]} : by_2;
  assign rest = below | (fine_shift[2] & (|coarse[3:0])) | (fine_shift[1] & (|by_4[1:0])) | (fine_shift[0] & by_2[0]);
  assign up   = by_1[0] & (rest | by_1[1]);
  always @(posedge clock) value <= {by_1[17], by_1[17:1]} + {{9{zero[8]}}, zero} + {17'd0, up};

  wire [17:0] low;
  wire [17:0] high;
  wire        is_less;
  wire        is_more;
  assign low     = {{9{limit[8]}}, limit[8:0]};
  assign high    = {{9{limit[17]}}, limit[17:9]};
  assign is_less = {~value[17], value[16:0]} < {~low[17], low[16:0]};
  assign is_more = {~value[17], value[16:0]} > {~high[17], high[16:0]};
  always @(posedge clock) code <= is_more ? high[7:0] : is_less ? low[7:0] : value[7:0];
endmodule

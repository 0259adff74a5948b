// Blocks of BLOCK bfloat16 values, LANES a clock, divided by their maximum rounded up to a power of two, 2^exponent.
// exponent: two's complement, -96 to 127. A block of zeros has exponent 0 and zero = 1. invalid: a nan or an infinity is in
// the block, or more than 2^127. The quotients are exact where they are 2^-126 or more, and else, far below what any 8-bit
// code tells from zero, they are +0; so are those of subnormal values. Nans and infinities stay what they are.
// A block is kept until its last row is in, while the block before comes out: two blocks of memory, a row every clock.
// Its first row (first = 1) comes out 3 clocks after the one that took its last row in, the other rows in the next clocks.
// BLOCK is a multiple of LANES, at least twice as much. Rows may have pauses, in_valid = 0; while enable is 0 all stands still.
module eight_bit_normalize #(
  parameter BLOCK = 64,
  parameter LANES = 1
) (
  input  wire                clock,
  input  wire                reset,
  input  wire                enable,
  input  wire                in_valid,
  input  wire [16*LANES-1:0] values,
  output reg                 out_valid,
  output reg                 first,
  output reg  [16*LANES-1:0] quotients,
  output reg  [7:0]          exponent,
  output reg                 zero,
  output reg                 invalid
);
  generate  // what the module is not made for stops elaboration
    if (BLOCK < 2 * LANES || BLOCK > 65536 || BLOCK % LANES != 0) begin : refuse_BLOCK
      eight_bit_normalize_needs_BLOCK_a_multiple_of_LANES_from_2_LANES_to_65536 stop ();
    end
    if (LANES < 1 || LANES > 1024) begin : refuse_LANES eight_bit_normalize_needs_LANES_from_1_to_1024 stop (); end
  endgenerate
  localparam ROWS = BLOCK / LANES;
  localparam BITS = $clog2(ROWS);
  localparam [31:0] END = ROWS - 1;

  // the row that comes in: into memory, and its greatest magnitude
  reg [16*LANES-1:0] rows [0:(2<<BITS)-1];
  reg                bank;
  reg [BITS-1:0]     place;
  wire               row_ends;
  assign row_ends = place == END[BITS-1:0];
  always @(posedge clock) begin
    if (enable & in_valid) begin
      rows[{bank, place}] <= values;
      place               <= row_ends ? {BITS{1'b0}} : place + {{(BITS-1){1'b0}}, 1'b1};
      bank                <= bank ^ row_ends;
    end
    if (reset) begin
      place <= {BITS{1'b0}};
      bank  <= 1'b0;
    end
  end
  genvar n;
  generate
    for (n = 2 * LANES - 2; n >= 0; n = n - 1) begin : node  // a tree: lanes from LANES - 1 on, its top is 0
      wire [14:0] most;
      if (n >= LANES - 1) begin : lane
        assign most = values[16*(n-LANES+1)+:15];
      end else begin : pair
        assign most = node[2*n+1].most > node[2*n+2].most ? node[2*n+1].most : node[2*n+2].most;
      end
    end
  endgenerate
  reg [14:0] row_most;
  reg        row_here;
  reg        row_first;
  reg        row_last;
  always @(posedge clock) begin
    if (enable) begin
      row_here  <= in_valid;
      row_most  <= node[0].most;
      row_first <= place == {BITS{1'b0}};
      row_last  <= row_ends;
    end
    if (reset) row_here <= 1'b0;
  end

  // the greatest magnitude of the block
  reg  [14:0] most;
  reg         start;
  always @(posedge clock) begin
    if (enable) begin
      if (row_here & (row_first | (row_most > most))) most <= row_most;
      start <= row_here & row_last;
    end
    if (reset) start <= 1'b0;
  end

  // the row that is read, and the power of two of its block
  reg [16*LANES-1:0] row;
  reg                bank_read;
  reg [BITS-1:0]     place_read;  // 0 where nothing is read, or a first row
  reg                reading;
  reg                reading_first;
  reg [7:0]          power;       // with the bias of 127
  reg                power_zero;
  reg                power_invalid;
  wire               read;
  wire               read_ends;
  wire [8:0]         above;
  assign read      = start | (|place_read);
  assign read_ends = place_read == END[BITS-1:0];
  assign above     = {1'b0, most[14:7]} + {8'd0, |most[6:0]};
  always @(posedge clock) begin
    if (enable) begin
      row           <= rows[{bank_read, place_read}];
      reading       <= read;
      reading_first <= start;
      if (read) begin
        place_read <= read_ends ? {BITS{1'b0}} : place_read + {{(BITS-1){1'b0}}, 1'b1};
        bank_read  <= bank_read ^ read_ends;
      end
      if (start) begin
        power         <= most == 15'd0 ? 8'd127 : above < 9'd31 ? 8'd31 : above > 9'd254 ? 8'd254 : above[7:0];
        power_zero    <= most == 15'd0;
        power_invalid <= above > 9'd254;
      end
    end
    if (reset) begin
      reading    <= 1'b0;
      place_read <= {BITS{1'b0}};
      bank_read  <= 1'b0;
    end
  end

  // what goes out
  wire [16*LANES-1:0] divided;
  generate
    for (n = 0; n < LANES; n = n + 1) begin : divide
      wire [15:0] value;
      wire [9:0]  biased;
      wire        tiny;
      assign value  = row[16*n+:16];
      assign biased = {2'b00, value[14:7]} + 10'd127 - {2'b00, power};
      assign tiny   = biased[9] | (biased == 10'd0) | (value[14:7] == 8'd0);
      assign divided[16*n+:16] = &value[14:7] ? value : tiny ? 16'd0 : {value[15], biased[7:0], value[6:0]};
    end
  endgenerate
  always @(posedge clock) begin
    if (enable) begin
      out_valid <= reading;
      first     <= reading_first;
      quotients <= divided;
      exponent  <= power - 8'd127;
      zero      <= power_zero;
      invalid   <= power_invalid;
    end
    if (reset) out_valid <= 1'b0;
  end
endmodule

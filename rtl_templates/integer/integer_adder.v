// y = a + b modulo 2^WIDTH; ADDER 0: exact; 1: the LOW lowest bits are or-ed, their highest ones and-ed into a carry (Mahdiani et
// al., IEEE TCAS I, 2010); 2: the carry out of the LOW lowest bits is dropped. LOW counts for nothing where ADDER is 0.
module integer_adder #(
  parameter WIDTH = 24,
  parameter ADDER = 0,
  parameter LOW   = 1
) (
  input  wire [WIDTH-1:0] a,
  input  wire [WIDTH-1:0] b,
  output wire [WIDTH-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 2) begin : refuse_WIDTH integer_adder_needs_WIDTH_of_2_or_more stop (); end
    if (ADDER < 0 || ADDER > 2) begin : refuse_ADDER integer_adder_needs_ADDER_from_0_to_2 stop (); end
    if (LOW < 1 || LOW >= WIDTH) begin : refuse_LOW integer_adder_needs_LOW_from_1_to_below_WIDTH stop (); end
    if (ADDER == 0) begin : whole
      assign y = a + b;
    end else if (ADDER == 1) begin : lower_or
      wire [WIDTH-LOW:0] high;  // with a place below for the carry
      wire               unused_place;
      assign high              = {a[WIDTH-1:LOW], a[LOW-1]} + {b[WIDTH-1:LOW], b[LOW-1]};
      assign unused_place      = high[0];
      assign y                 = {high[WIDTH-LOW:1], a[LOW-1:0] | b[LOW-1:0]};
    end else begin : cut
      wire [WIDTH-LOW-1:0] high;
      wire [LOW-1:0]       low;
      assign high = a[WIDTH-1:LOW] + b[WIDTH-1:LOW];
      assign low  = a[LOW-1:0] + b[LOW-1:0];
      assign y    = {high, low};
    end
  endgenerate
endmodule

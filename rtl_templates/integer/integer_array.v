// ROWS x COLUMNS elements, weights staying. One word comes in each clock, a code for all rows at once; the array delays row r by r
// clocks. Weights come the same way: COLUMNS words one behind the other, that of the last column first; load stands with the
// last one, and every element then keeps what it holds.
// A sum goes in at the north of column c and out at its south, c clocks after column 0. With a word at clock t, column 0 wants
// its sum at t + 1 (DEPTH 1) or t + 2 (DEPTH 2), and gives it back ROWS clocks later. Nothing ever stops.
// VARIATE: besides, the VARIATE lowest bits of x are summed along the rows (all X_BITS: x as a number, signed where X_SIGNED is 1);
// variate_in is wanted at t + 1, variate_out is there together with the sum of column 0.
module integer_array #(
  parameter ROWS          = 4,
  parameter COLUMNS       = 4,
  parameter WEIGHT_BITS   = 8,
  parameter X_BITS        = 8,
  parameter PRODUCT_BITS  = 16,
  parameter WEIGHT_SIGNED = 1,
  parameter X_SIGNED      = 1,
  parameter SELECT_BITS   = 1,
  parameter SUM_BITS      = 24,
  parameter DEPTH         = 1,
  parameter ADDER         = 0,
  parameter LOW           = 1,
  parameter VARIATE       = 0,
  parameter VARIATE_BITS  = 24
) (
  input  wire                                                         clock,
  input  wire [SELECT_BITS-1:0]                                       select,
  input  wire [ROWS*(WEIGHT_BITS > X_BITS ? WEIGHT_BITS : X_BITS)-1:0] codes,
  input  wire                                                         load,
  input  wire [COLUMNS*SUM_BITS-1:0]                                  sums_in,
  output wire [COLUMNS*SUM_BITS-1:0]                                  sums_out,
  input  wire [VARIATE_BITS-1:0]                                      variate_in,
  output wire [VARIATE_BITS-1:0]                                      variate_out
);
  generate  // what the module is not made for stops elaboration
    if (ROWS < 1 || ROWS > 256) begin : refuse_ROWS integer_array_needs_ROWS_from_1_to_256 stop (); end
    if (COLUMNS < 1 || COLUMNS > 256) begin : refuse_COLUMNS integer_array_needs_COLUMNS_from_1_to_256 stop (); end
    if (WEIGHT_BITS < 2 || WEIGHT_BITS > 8) begin : refuse_WEIGHT_BITS
      integer_array_needs_WEIGHT_BITS_from_2_to_8 stop ();
    end
    if (X_BITS < 2 || X_BITS > 8) begin : refuse_X_BITS integer_array_needs_X_BITS_from_2_to_8 stop (); end
    if (PRODUCT_BITS < WEIGHT_BITS + X_BITS || PRODUCT_BITS > 32) begin : refuse_PRODUCT_BITS
      integer_array_needs_PRODUCT_BITS_of_both_operands_to_32 stop ();
    end
    if (WEIGHT_SIGNED < 0 || WEIGHT_SIGNED > 1) begin : refuse_WEIGHT_SIGNED
      integer_array_needs_WEIGHT_SIGNED_0_or_1 stop ();
    end
    if (X_SIGNED < 0 || X_SIGNED > 1) begin : refuse_X_SIGNED integer_array_needs_X_SIGNED_0_or_1 stop (); end
    if (SELECT_BITS < 1 || SELECT_BITS > 8) begin : refuse_SELECT_BITS integer_array_needs_SELECT_BITS_from_1_to_8 stop (); end
    if (SUM_BITS < 4 || SUM_BITS > 32) begin : refuse_SUM_BITS integer_array_needs_SUM_BITS_from_4_to_32 stop (); end
    if (DEPTH < 1 || DEPTH > 2) begin : refuse_DEPTH integer_array_needs_DEPTH_1_or_2 stop (); end
    if (ADDER < 0 || ADDER > 2) begin : refuse_ADDER integer_array_needs_ADDER_from_0_to_2 stop (); end
    if (LOW < 1 || LOW >= SUM_BITS) begin : refuse_LOW integer_array_needs_LOW_from_1_to_below_SUM_BITS stop (); end
    if (VARIATE < 0 || VARIATE > X_BITS) begin : refuse_VARIATE integer_array_needs_VARIATE_from_0_to_X_BITS stop (); end
    if (VARIATE_BITS < 9 || VARIATE_BITS > 32) begin : refuse_VARIATE_BITS
      integer_array_needs_VARIATE_BITS_from_9_to_32 stop ();
    end
  endgenerate
  localparam COUNT = COLUMNS > 0 ? COLUMNS : 1;  // at least 1, so that it is a guard that stops what is less
  localparam CODE  = WEIGHT_BITS > X_BITS ? WEIGHT_BITS : X_BITS;
  wire [ROWS-1:0] unused_east;
  genvar r, c;
  generate
    for (r = 0; r < ROWS; r = r + 1) begin : row
      wire [CODE:0] word;  // load, code
      engine_delay #(.WIDTH(CODE + 1), .CLOCKS(r)) lag (
        .clock(clock),
        .reset(1'b0),
        .data_in({load, codes[r*CODE+:CODE]}),
        .data_out(word)
      );
      reg keep;  // the last word is in the first element
      always @(posedge clock) keep <= word[CODE];
      for (c = 0; c < COUNT; c = c + 1) begin : column
        wire [CODE-1:0]     west;
        wire [CODE-1:0]     east;
        wire [SUM_BITS-1:0] north;
        wire [SUM_BITS-1:0] south;
        if (c == 0) begin : westmost
          assign west = word[CODE-1:0];
        end else begin : inner
          assign west = row[r].column[c-1].east;
        end
        if (r == 0) begin : northmost
          assign north = sums_in[c*SUM_BITS+:SUM_BITS];
        end else begin : below
          assign north = row[r-1].column[c].south;
        end
        if (r == ROWS - 1) begin : southmost
          assign sums_out[c*SUM_BITS+:SUM_BITS] = south;
        end
        integer_element #(
          .WEIGHT_BITS(WEIGHT_BITS),
          .X_BITS(X_BITS),
          .PRODUCT_BITS(PRODUCT_BITS),
          .WEIGHT_SIGNED(WEIGHT_SIGNED),
          .X_SIGNED(X_SIGNED),
          .SELECT_BITS(SELECT_BITS),
          .SUM_BITS(SUM_BITS),
          .DEPTH(DEPTH),
          .ADDER(ADDER),
          .LOW(LOW)
        ) element (
          .clock(clock),
          .load(keep),
          .select(select),
          .operand_in(west),
          .operand_out(east),
          .sum_in(north),
          .sum_out(south)
        );
      end
      assign unused_east[r] = ^row[r].column[COUNT-1].east;
    end
  endgenerate

  generate
    if (VARIATE > 0) begin : variate
      for (r = 0; r < ROWS; r = r + 1) begin : row_sum
        wire [VARIATE_BITS-1:0] north;
        reg  [VARIATE_BITS-1:0] south;
        wire                    sign;  // beside the lowest bits there is none
        if (r == 0) begin : northmost
          assign north = variate_in;
        end else begin : below
          assign north = row_sum[r-1].south;
        end
        assign sign = (VARIATE == X_BITS && X_SIGNED != 0) & row[r].column[0].east[VARIATE-1];
        always @(posedge clock)
          south <= north + {{(VARIATE_BITS-VARIATE){sign}}, row[r].column[0].east[VARIATE-1:0]};
      end
      engine_delay #(.WIDTH(VARIATE_BITS), .CLOCKS(DEPTH - 1)) with_the_sum (
        .clock(clock),
        .reset(1'b0),
        .data_in(row_sum[ROWS-1].south),
        .data_out(variate_out)
      );
    end else begin : no_variate
      wire unused_variate;
      assign unused_variate = ^variate_in;
      assign variate_out    = {VARIATE_BITS{1'b0}};
    end
  endgenerate
endmodule

// ROWS x COLUMNS elements, weights staying. One code a row comes in each clock, in the same clock for all rows; the array
// decodes it and delays row r by r times an element's latency. Weights come the same way: COLUMNS words one behind the
// other, that of the last column first; load stands with the last word, and every element then keeps what it holds.
// A state goes in at the north of column c, and out at its south, c clocks after column 0. With words at clock t,
// column 0 wants its state at t + 1 (DEPTH 1, 2) or t + 2 (DEPTH 3, 4), and gives it back ROWS times the latency later.
// An element's latency is 1, 2, 2, 3 clocks for DEPTH 1, 2, 3, 4. Nothing ever stops: what is not wanted is passed over.
module mac_array #(
  parameter ROWS                  = 4,
  parameter COLUMNS               = 4,
  parameter EXPONENT_BITS         = 8,
  parameter FRACTION_BITS         = 7,
  parameter INFINITY              = 1,
  parameter SUBNORMALS            = 0,
  parameter OPERAND_EXPONENT_BITS = 8,
  parameter W                     = 20,
  parameter ALIGN                 = 5,
  parameter STEP                  = 0,
  parameter EXACT                 = 0,
  parameter K                     = 1,
  parameter L                     = 2,
  parameter DEPTH                 = 2,
  parameter FAST                  = 0
) (
  input  wire                                            clock,
  input  wire [ROWS*(EXPONENT_BITS+FRACTION_BITS+1)-1:0] codes,
  input  wire                                            load,
  input  wire [COLUMNS*(W+13)-1:0]                       states_in,
  output wire [COLUMNS*(W+13)-1:0]                       states_out
);
  generate  // what the module is not made for stops elaboration
    if (ROWS < 1 || ROWS > 256) begin : refuse_ROWS mac_array_needs_ROWS_from_1_to_256 stop (); end
    if (COLUMNS < 1 || COLUMNS > 256) begin : refuse_COLUMNS mac_array_needs_COLUMNS_from_1_to_256 stop (); end
    if (EXPONENT_BITS < 2 || EXPONENT_BITS > 8) begin : refuse_EXPONENT_BITS
      mac_array_needs_EXPONENT_BITS_from_2_to_8 stop ();
    end
    if (FRACTION_BITS < 2 || FRACTION_BITS > 15) begin : refuse_FRACTION_BITS
      mac_array_needs_FRACTION_BITS_from_2_to_15 stop ();
    end
    if (INFINITY < 0 || INFINITY > 1) begin : refuse_INFINITY mac_array_needs_INFINITY_0_or_1 stop (); end
    if (SUBNORMALS < 0 || SUBNORMALS > 1) begin : refuse_SUBNORMALS mac_array_needs_SUBNORMALS_0_or_1 stop (); end
    if (OPERAND_EXPONENT_BITS < EXPONENT_BITS + (INFINITY == 0) || OPERAND_EXPONENT_BITS > 8) begin : refuse_operands
      mac_array_needs_OPERAND_EXPONENT_BITS_that_hold_all_up_to_8 stop ();
    end
    if (SUBNORMALS != 0 && (1 << OPERAND_EXPONENT_BITS) < (1 << EXPONENT_BITS) + 2 * FRACTION_BITS - 4) begin : refuse_gradual
      mac_array_needs_OPERAND_EXPONENT_BITS_that_hold_subnormals stop ();
    end
    if (W < 2 * FRACTION_BITS + 2 || W > 32) begin : refuse_W mac_array_needs_W_from_2_FRACTION_BITS_plus_2_to_32 stop (); end
    if (ALIGN < 1 || ALIGN > 5) begin : refuse_ALIGN mac_array_needs_ALIGN_from_1_to_5 stop (); end
    if (STEP < 0 || STEP == 3 || STEP > 4) begin : refuse_STEP mac_array_needs_STEP_0_1_2_or_4 stop (); end
    if (EXACT < 0 || EXACT > 1) begin : refuse_EXACT mac_array_needs_EXACT_0_or_1 stop (); end
    if (K < 0) begin : refuse_K mac_array_needs_K_of_0_or_more stop (); end
    if (L < 0) begin : refuse_L mac_array_needs_L_of_0_or_more stop (); end
    if (K + L >= W) begin : refuse_K_and_L mac_array_needs_K_plus_L_below_W stop (); end
    if (DEPTH < 1 || DEPTH > 4) begin : refuse_DEPTH mac_array_needs_DEPTH_from_1_to_4 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST mac_array_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  localparam COUNT   = COLUMNS > 0 ? COLUMNS : 1;  // at least 1, so that it is a guard that stops what is less
  localparam CODE    = EXPONENT_BITS + FRACTION_BITS + 1;
  localparam OPERAND = OPERAND_EXPONENT_BITS + FRACTION_BITS + 2;
  localparam STATE   = W + 13;
  localparam LAG     = DEPTH > 2 ? DEPTH - 1 : DEPTH;
  wire [ROWS-1:0] unused_east;
  genvar r, c;
  generate
    for (r = 0; r < ROWS; r = r + 1) begin : row
      wire [OPERAND-1:0] decoded;
      wire [OPERAND:0]   word;  // load, operand
      float_decode #(
        .EXPONENT_BITS(EXPONENT_BITS),
        .FRACTION_BITS(FRACTION_BITS),
        .INFINITY(INFINITY),
        .SUBNORMALS(SUBNORMALS),
        .OPERAND_EXPONENT_BITS(OPERAND_EXPONENT_BITS)
      ) decode (
        .code(codes[r*CODE+:CODE]),
        .operand(decoded)
      );
      engine_delay #(.WIDTH(OPERAND + 1), .CLOCKS(r * LAG)) lag (
        .clock(clock),
        .reset(1'b0),
        .data_in({load, decoded}),
        .data_out(word)
      );
      reg keep;  // the last word is in the first element
      always @(posedge clock) keep <= word[OPERAND];
      for (c = 0; c < COUNT; c = c + 1) begin : column
        wire [OPERAND-1:0] west;
        wire [OPERAND-1:0] east;
        wire [STATE-1:0]   north;
        wire [STATE-1:0]   south;
        if (c == 0) begin : westmost
          assign west = word[OPERAND-1:0];
        end else begin : inner
          assign west = row[r].column[c-1].east;
        end
        if (r == 0) begin : northmost
          assign north = states_in[c*STATE+:STATE];
        end else begin : below
          assign north = row[r-1].column[c].south;
        end
        if (r == ROWS - 1) begin : southmost
          assign states_out[c*STATE+:STATE] = south;
        end
        mac_element #(
          .EXPONENT_BITS(OPERAND_EXPONENT_BITS),
          .FRACTION_BITS(FRACTION_BITS),
          .W(W),
          .ALIGN(ALIGN),
          .STEP(STEP),
          .EXACT(EXACT),
          .K(K),
          .L(L),
          .DEPTH(DEPTH),
          .FAST(FAST)
        ) element (
          .clock(clock),
          .load(keep),
          .operand_in(west),
          .operand_out(east),
          .state_in(north),
          .state_out(south)
        );
      end
      assign unused_east[r] = ^row[r].column[COUNT-1].east;
    end
  endgenerate
endmodule

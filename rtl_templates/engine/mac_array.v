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
      if (r == 0) begin : first
        assign word = {load, decoded};
      end else if (r * LAG == 1) begin : by_one
        reg [OPERAND:0] late;
        always @(posedge clock) late <= {load, decoded};
        assign word = late;
      end else begin : by_more
        reg [r*LAG*(OPERAND+1)-1:0] late;
        always @(posedge clock) late <= {late[(r*LAG-1)*(OPERAND+1)-1:0], load, decoded};
        assign word = late[r*LAG*(OPERAND+1)-1-:OPERAND+1];
      end
      reg keep;  // the last word is in the first element
      always @(posedge clock) keep <= word[OPERAND];
      for (c = 0; c < COLUMNS; c = c + 1) begin : column
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
      assign unused_east[r] = ^row[r].column[COLUMNS-1].east;
    end
  endgenerate
endmodule

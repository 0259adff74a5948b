// What stands around a column: the memory in which states wait between tiles, the column's end, and the queue of results.
// north_*: a vector whose state is wanted in the next clock, from the start (first) or from the memory.
// south_*: a vector whose state leaves the array now, into the memory or, of the last tile, as a result.
module engine_column #(
  parameter W            = 20,
  parameter RESULT_BITS  = 32,
  parameter ADDRESS_BITS = 8,
  parameter QUEUE_BITS   = 5,
  parameter FAST         = 0
) (
  input  wire                    clock,
  input  wire                    reset,
  input  wire                    north_first,
  input  wire [ADDRESS_BITS-1:0] north_address,
  output wire [W+12:0]           state_in,
  input  wire                    south_valid,
  input  wire                    south_last,
  input  wire [ADDRESS_BITS-1:0] south_address,
  input  wire [W+12:0]           state_out,
  input  wire                    pop,
  output wire [RESULT_BITS-1:0]  result
);
  generate  // what the module is not made for stops elaboration
    if (W < 4 || W > 32) begin : refuse_W engine_column_needs_W_from_4_to_32 stop (); end
    if (RESULT_BITS != 16 && RESULT_BITS != 32) begin : refuse_RESULT_BITS engine_column_needs_RESULT_BITS_16_or_32 stop (); end
    if (ADDRESS_BITS < 1 || ADDRESS_BITS > 16) begin : refuse_ADDRESS_BITS
      engine_column_needs_ADDRESS_BITS_from_1_to_16 stop ();
    end
    if (QUEUE_BITS < 1 || QUEUE_BITS > 16) begin : refuse_QUEUE_BITS engine_column_needs_QUEUE_BITS_from_1_to_16 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST engine_column_needs_FAST_from_0_to_2 stop (); end
  endgenerate
  reg [W+12:0] states [0:(1<<ADDRESS_BITS)-1];
  reg [W+12:0] waited;
  reg          start;
  always @(posedge clock) begin
    waited <= states[north_address];
    start  <= north_first;
    if (south_valid & ~south_last) states[south_address] <= state_out;
  end
  assign state_in = start ? {3'b000, 10'h200, {W{1'b0}}} : waited;

  wire [RESULT_BITS-1:0] code;
  column_end #(.W(W), .RESULT_BITS(RESULT_BITS), .FAST(FAST)) finish (
    .clock(clock),
    .state(state_out),
    .code(code)
  );
  reg finished;
  always @(posedge clock) finished <= south_valid & south_last & ~reset;
  wire [QUEUE_BITS:0] unused_level;  // the last column says for all how many there are
  engine_queue #(.WIDTH(RESULT_BITS), .LOG(QUEUE_BITS)) results (
    .clock(clock),
    .reset(reset),
    .push(finished),
    .data_in(code),
    .pop(pop),
    .data_out(result),
    .level(unused_level)
  );
endmodule

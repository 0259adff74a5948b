// What stands around a column: the memory in which sums wait between tiles, the column's end, and the queue of results.
// north_*: a vector whose sum is wanted in the next clock. south_*: a vector whose sum leaves the array now, into the memory or, of
// the last tile, as a result; bank: where the constants of its tile are.
module integer_column #(
  parameter SUM_BITS     = 24,
  parameter VARIATE      = 0,
  parameter VARIATE_BITS = 24,
  parameter BANK_BITS    = 1,
  parameter RESULT_BITS  = 8,
  parameter ADDRESS_BITS = 8,
  parameter QUEUE_BITS   = 5
) (
  input  wire                                                                clock,
  input  wire                                                                reset,
  input  wire                                                                write,
  input  wire [BANK_BITS-1:0]                                                write_bank,
  input  wire [32+(VARIATE > 0 ? 16 : 0)+(RESULT_BITS == 8 ? 64 : 0)-1:0] constants,
  input  wire                                                                north_first,
  input  wire [ADDRESS_BITS-1:0]                                             north_address,
  output wire [SUM_BITS-1:0]                                                 sum_in,
  input  wire                                                                south_valid,
  input  wire                                                                south_last,
  input  wire [BANK_BITS-1:0]                                                south_bank,
  input  wire [ADDRESS_BITS-1:0]                                             south_address,
  input  wire [SUM_BITS-1:0]                                                 sum_out,
  input  wire [VARIATE_BITS-1:0]                                             variate,
  input  wire                                                                pop,
  output wire [RESULT_BITS-1:0]                                              result
);
  generate  // what the module is not made for stops elaboration
    if (SUM_BITS < 4 || SUM_BITS > 32) begin : refuse_SUM_BITS integer_column_needs_SUM_BITS_from_4_to_32 stop (); end
    if (VARIATE < 0 || VARIATE > 8) begin : refuse_VARIATE integer_column_needs_VARIATE_from_0_to_8 stop (); end
    if (VARIATE_BITS < 9 || VARIATE_BITS > 32) begin : refuse_VARIATE_BITS
      integer_column_needs_VARIATE_BITS_from_9_to_32 stop ();
    end
    if (BANK_BITS < 1 || BANK_BITS > 4) begin : refuse_BANK_BITS integer_column_needs_BANK_BITS_from_1_to_4 stop (); end
    if (RESULT_BITS != 8 && RESULT_BITS != 32) begin : refuse_RESULT_BITS integer_column_needs_RESULT_BITS_8_or_32 stop (); end
    if (ADDRESS_BITS < 1 || ADDRESS_BITS > 16) begin : refuse_ADDRESS_BITS
      integer_column_needs_ADDRESS_BITS_from_1_to_16 stop ();
    end
    if (QUEUE_BITS < 1 || QUEUE_BITS > 16) begin : refuse_QUEUE_BITS integer_column_needs_QUEUE_BITS_from_1_to_16 stop (); end
  endgenerate
  localparam LATE = 1 + (VARIATE > 0 ? 1 : 0) + (RESULT_BITS == 8 ? 6 : 0);  // of the end
  integer_sums #(.WIDTH(SUM_BITS), .ADDRESS_BITS(ADDRESS_BITS)) memory (
    .clock(clock),
    .north_first(north_first),
    .north_address(north_address),
    .sum_in(sum_in),
    .south_keep(south_valid & ~south_last),
    .south_address(south_address),
    .sum_out(sum_out)
  );

  wire [RESULT_BITS-1:0] finished;
  integer_end #(
    .SUM_BITS(SUM_BITS),
    .VARIATE(VARIATE),
    .VARIATE_BITS(VARIATE_BITS),
    .BANK_BITS(BANK_BITS),
    .RESULT_BITS(RESULT_BITS)
  ) finish (
    .clock(clock),
    .write(write),
    .write_bank(write_bank),
    .constants(constants),
    .bank(south_bank),
    .sum(sum_out),
    .variate(variate),
    .result(finished)
  );
  reg  [LATE-1:0]     finishing;
  wire [LATE:0]       finishing_next;
  wire                unused_finishing;
  wire [QUEUE_BITS:0] unused_level;  // the last column says for all how many there are
  assign finishing_next   = {finishing, south_valid & south_last};
  assign unused_finishing = finishing_next[LATE];
  always @(posedge clock) finishing <= reset ? {LATE{1'b0}} : finishing_next[LATE-1:0];
  engine_queue #(.WIDTH(RESULT_BITS), .LOG(QUEUE_BITS)) results (
    .clock(clock),
    .reset(reset),
    .push(finishing[LATE-1]),
    .data_in(finished),
    .pop(pop),
    .data_out(result),
    .level(unused_level)
  );
endmodule

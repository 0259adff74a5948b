// The port of weights: words wait until all COLUMNS of a tile are there (ready), for they must go in without gaps. A word whose
// tlast is not with every COLUMNS-th one sets fault, which stays until reset: it and all behind it come to nothing.
module engine_weights #(
  parameter COLUMNS     = 4,
  parameter COLUMN_BITS = 3,
  parameter WIDTH       = 32
) (
  input  wire             clock,
  input  wire             reset,
  input  wire             halted,
  input  wire [WIDTH-1:0] tdata,
  input  wire             tlast,
  input  wire             tvalid,
  output wire             tready,
  input  wire             pop,
  output wire [WIDTH-1:0] weights,
  output wire             ready,
  output reg              fault
);
  generate  // what the module is not made for stops elaboration
    if (COLUMNS < 1 || COLUMNS > 256) begin : refuse_COLUMNS engine_weights_needs_COLUMNS_from_1_to_256 stop (); end
    if (COLUMN_BITS < 1 || COLUMN_BITS > 16 || COLUMNS > (1 << COLUMN_BITS)) begin : refuse_COLUMN_BITS
      engine_weights_needs_COLUMN_BITS_that_hold_COLUMNS_words stop ();
    end
    if (WIDTH < 1) begin : refuse_WIDTH engine_weights_needs_WIDTH_of_1_or_more stop (); end
  endgenerate
  localparam [31:0] WORDS = COLUMNS;
  wire [COLUMN_BITS:0]   there;
  reg  [COLUMN_BITS-1:0] number;
  wire                   comes;
  wire                   ends;
  wire                   placed;  // its tlast is right
  assign tready = (~there[COLUMN_BITS] | fault | halted) & ~reset;
  assign comes  = tvalid & tready & ~fault & ~halted;
  assign ends   = number == WORDS[COLUMN_BITS-1:0] - {{(COLUMN_BITS-1){1'b0}}, 1'b1};
  assign placed = ends == tlast;
  assign ready  = there >= WORDS[COLUMN_BITS:0];
  engine_queue #(.WIDTH(WIDTH), .LOG(COLUMN_BITS)) waiting (
    .clock(clock),
    .reset(reset),
    .push(comes & placed),
    .data_in(tdata),
    .pop(pop),
    .data_out(weights),
    .level(there)
  );
  always @(posedge clock) begin
    if (reset) begin
      number <= {COLUMN_BITS{1'b0}};
      fault  <= 1'b0;
    end else if (comes) begin
      number <= ends ? {COLUMN_BITS{1'b0}} : number + {{(COLUMN_BITS-1){1'b0}}, 1'b1};
      if (~placed) fault <= 1'b1;
    end
  end
endmodule

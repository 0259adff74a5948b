// A matrix engine: a weight-stationary array between AXI4-Streams, for A (M x K) times B (K x N) in tiles of at most ROWS x
// COLUMNS of B. For each tile: COLUMNS words of weights, of the last column first, tlast with the last word; then one word a
// vector of A, tlast with the last. A word holds one code a row, row 0 lowest; rows and columns beyond K and N are zeros.
// tuser[0]: this tile begins its chains, from +0; without, it goes on from the states that the tile before has left.
// tuser[1]: this tile ends its chains: each of its vectors yields one word of results, one code a column, column 0 lowest,
// tlast with the tile's last. Of a chain of tiles all have the same vectors, 2^ADDRESS_BITS at most unless it is one tile.
// A word that breaks this sets a bit of fault, which stays until reset: 0, 1 as in engine_control; 2: tlast of the weights is
// not with every COLUMNS-th word; 3, 4, 5: 2, 3, 4 of engine_control. The tile that it belongs to, and all that comes behind,
// is then taken in and nothing comes of it; tiles before it yield all their results; no port waits. A reset ends that.
module matrix_engine #(
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
  parameter FAST                  = 0,
  parameter RESULT_BITS           = 32,
  parameter ADDRESS_BITS          = 8
) (
  input  wire                                            aclk,
  input  wire                                            aresetn,
  input  wire [ROWS*(EXPONENT_BITS+FRACTION_BITS+1)-1:0] s_axis_weights_tdata,
  input  wire                                            s_axis_weights_tlast,
  input  wire                                            s_axis_weights_tvalid,
  output wire                                            s_axis_weights_tready,
  input  wire [ROWS*(EXPONENT_BITS+FRACTION_BITS+1)-1:0] s_axis_activations_tdata,
  input  wire [1:0]                                      s_axis_activations_tuser,
  input  wire                                            s_axis_activations_tlast,
  input  wire                                            s_axis_activations_tvalid,
  output wire                                            s_axis_activations_tready,
  output wire [COLUMNS*RESULT_BITS-1:0]                  m_axis_results_tdata,
  output wire                                            m_axis_results_tlast,
  output wire                                            m_axis_results_tvalid,
  input  wire                                            m_axis_results_tready,
  output wire [5:0]                                      fault
);
  generate  // what the module is not made for stops elaboration
    if (ROWS < 1 || ROWS > 256) begin : refuse_ROWS matrix_engine_needs_ROWS_from_1_to_256 stop (); end
    if (COLUMNS < 1 || COLUMNS > 256) begin : refuse_COLUMNS matrix_engine_needs_COLUMNS_from_1_to_256 stop (); end
    if (EXPONENT_BITS < 2 || EXPONENT_BITS > 8) begin : refuse_EXPONENT_BITS
      matrix_engine_needs_EXPONENT_BITS_from_2_to_8 stop ();
    end
    if (FRACTION_BITS < 2 || FRACTION_BITS > 15) begin : refuse_FRACTION_BITS
      matrix_engine_needs_FRACTION_BITS_from_2_to_15 stop ();
    end
    if (INFINITY < 0 || INFINITY > 1) begin : refuse_INFINITY matrix_engine_needs_INFINITY_0_or_1 stop (); end
    if (SUBNORMALS < 0 || SUBNORMALS > 1) begin : refuse_SUBNORMALS matrix_engine_needs_SUBNORMALS_0_or_1 stop (); end
    if (OPERAND_EXPONENT_BITS < EXPONENT_BITS + (INFINITY == 0) || OPERAND_EXPONENT_BITS > 8) begin : refuse_operands
      matrix_engine_needs_OPERAND_EXPONENT_BITS_that_hold_all_up_to_8 stop ();
    end
    if (SUBNORMALS != 0 && (1 << OPERAND_EXPONENT_BITS) < (1 << EXPONENT_BITS) + 2 * FRACTION_BITS - 4) begin : refuse_gradual
      matrix_engine_needs_OPERAND_EXPONENT_BITS_that_hold_subnormals stop ();
    end
    if (W < 2 * FRACTION_BITS + 2 || W > 32) begin : refuse_W
      matrix_engine_needs_W_from_2_FRACTION_BITS_plus_2_to_32 stop ();
    end
    if (ALIGN < 1 || ALIGN > 5) begin : refuse_ALIGN matrix_engine_needs_ALIGN_from_1_to_5 stop (); end
    if (EXACT < 0 || EXACT > 1) begin : refuse_EXACT matrix_engine_needs_EXACT_0_or_1 stop (); end
    if (K < 1) begin : refuse_K matrix_engine_needs_K_of_1_or_more stop (); end
    if (L < 1) begin : refuse_L matrix_engine_needs_L_of_1_or_more stop (); end
    if (K + L >= W) begin : refuse_K_and_L matrix_engine_needs_K_plus_L_below_W stop (); end
    if (DEPTH < 1 || DEPTH > 4) begin : refuse_DEPTH matrix_engine_needs_DEPTH_from_1_to_4 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST matrix_engine_needs_FAST_from_0_to_2 stop (); end
    if (RESULT_BITS != 16 && RESULT_BITS != 32) begin : refuse_RESULT_BITS matrix_engine_needs_RESULT_BITS_16_or_32 stop (); end
    if (ADDRESS_BITS < 1 || ADDRESS_BITS > 16) begin : refuse_ADDRESS_BITS
      matrix_engine_needs_ADDRESS_BITS_from_1_to_16 stop ();
    end
  endgenerate
  localparam WORD        = ROWS * (EXPONENT_BITS + FRACTION_BITS + 1);
  localparam STATE       = W + 13;
  localparam LAG         = DEPTH > 2 ? DEPTH - 1 : DEPTH;  // of an element
  localparam EARLY       = DEPTH > 2 ? 1 : 0;              // clocks from an operand to its state
  localparam FLIGHT      = ROWS * LAG + EARLY + 1;         // clocks from a word to its state at the south of column 0
  localparam FLIGHT_BITS = ($clog2(FLIGHT + 2) > ADDRESS_BITS ? $clog2(FLIGHT + 2) : ADDRESS_BITS) + 1;
  localparam COLUMN_BITS = $clog2(COLUMNS + 1);
  localparam QUEUE_BITS  = $clog2(FLIGHT + COLUMNS + 4);   // of results: room for all that are on their way
  wire reset;
  assign reset = ~aresetn;

  // a whole tile's weights are there before the first goes in: they must not have gaps
  wire                 halted;
  wire                 weight;
  wire                 load;
  wire [WORD-1:0]      weights;
  wire                 weights_ready;
  wire                 weights_fault;
  engine_weights #(.COLUMNS(COLUMNS), .COLUMN_BITS(COLUMN_BITS), .WIDTH(WORD)) waiting_weights (
    .clock(aclk),
    .reset(reset),
    .halted(halted),
    .tdata(s_axis_weights_tdata),
    .tlast(s_axis_weights_tlast),
    .tvalid(s_axis_weights_tvalid),
    .tready(s_axis_weights_tready),
    .pop(weight),
    .weights(weights),
    .ready(weights_ready),
    .fault(weights_fault)
  );

  wire                    accepted;
  wire                    taken;
  wire                    written;
  wire [ADDRESS_BITS-1:0] address;
  wire [4:0]              control_fault;
  wire                    vector_ready;
  wire                    vector_enters;
  engine_control #(
    .COLUMNS(COLUMNS),
    .COLUMN_BITS(COLUMN_BITS),
    .ADDRESS_BITS(ADDRESS_BITS),
    .QUEUE_BITS(QUEUE_BITS),
    .FLIGHT_BITS(FLIGHT_BITS)
  ) control (
    .clock(aclk),
    .reset(reset),
    .weights_ready(weights_ready),
    .weights_broken(weights_fault),
    .vector_valid(s_axis_activations_tvalid),
    .vector_first(s_axis_activations_tuser[0]),
    .vector_last(s_axis_activations_tuser[1]),
    .vector_end(s_axis_activations_tlast),
    .written(written),
    .taken(taken),
    .weight(weight),
    .load(load),
    .vector_ready(vector_ready),
    .vector_enters(vector_enters),
    .address(address),
    .halted(halted),
    .fault(control_fault)
  );
  assign s_axis_activations_tready = vector_ready & aresetn;
  assign accepted                  = vector_enters & aresetn;
  assign fault                     = {control_fault[4:2], weights_fault, control_fault[1:0]};

  // with each vector: where its states are, at the north of column 0 and, FLIGHT clocks after the word, at its south
  localparam NORTH = ADDRESS_BITS + 1;  // first, address
  localparam SOUTH = ADDRESS_BITS + 3;  // valid, last, end, address
  wire [NORTH-1:0] issued_north;
  wire [NORTH-1:0] north;
  wire [SOUTH-1:0] issued_south;
  wire [SOUTH-1:0] south;
  assign issued_north = {s_axis_activations_tuser[0], address};
  assign issued_south = {accepted, s_axis_activations_tuser[1], s_axis_activations_tlast, address};
  generate
    if (EARLY) begin : a_clock_later
      reg [NORTH-1:0] late;
      always @(posedge aclk) late <= issued_north;
      assign north = late;
    end else begin : at_once
      assign north = issued_north;
    end
  endgenerate
  reg [FLIGHT*SOUTH-1:0] flight;
  always @(posedge aclk) flight <= reset ? {FLIGHT*SOUTH{1'b0}} : {flight[(FLIGHT-1)*SOUTH-1:0], issued_south};
  assign south   = flight[FLIGHT*SOUTH-1-:SOUTH];
  assign written = south[SOUTH-1];

  wire [COLUMNS*STATE-1:0]       states_in;
  wire [COLUMNS*STATE-1:0]       states_out;
  mac_array #(
    .ROWS(ROWS),
    .COLUMNS(COLUMNS),
    .EXPONENT_BITS(EXPONENT_BITS),
    .FRACTION_BITS(FRACTION_BITS),
    .INFINITY(INFINITY),
    .SUBNORMALS(SUBNORMALS),
    .OPERAND_EXPONENT_BITS(OPERAND_EXPONENT_BITS),
    .W(W),
    .ALIGN(ALIGN),
    .EXACT(EXACT),
    .K(K),
    .L(L),
    .DEPTH(DEPTH),
    .FAST(FAST)
  ) array (
    .clock(aclk),
    .codes(weight ? weights : s_axis_activations_tdata & {WORD{accepted}}),
    .load(load),
    .states_in(states_in),
    .states_out(states_out)
  );

  wire [QUEUE_BITS:0] ends_there;
  genvar c;
  generate
    for (c = 0; c < COLUMNS; c = c + 1) begin : column
      wire [NORTH-1:0] north_here;
      wire [SOUTH-1:0] south_here;
      if (c == 0) begin : westmost
        assign north_here = north;
        assign south_here = south;
      end else begin : inner
        reg [NORTH-1:0] north_late;
        reg [SOUTH-1:0] south_late;
        always @(posedge aclk) begin
          north_late <= column[c-1].north_here;
          south_late <= reset ? {SOUTH{1'b0}} : column[c-1].south_here;
        end
        assign north_here = north_late;
        assign south_here = south_late;
      end
      if (c == COLUMNS - 1) begin : eastmost  // its results are the last: with them the word is whole
        reg finished;
        reg last_of_tile;
        always @(posedge aclk) begin
          finished     <= south_here[SOUTH-1] & south_here[SOUTH-2] & ~reset;
          last_of_tile <= south_here[SOUTH-3];
        end
        engine_queue #(.WIDTH(1), .LOG(QUEUE_BITS)) ends (
          .clock(aclk),
          .reset(reset),
          .push(finished),
          .data_in(last_of_tile),
          .pop(taken),
          .data_out(m_axis_results_tlast),
          .level(ends_there)
        );
      end
      engine_column #(
        .W(W),
        .RESULT_BITS(RESULT_BITS),
        .ADDRESS_BITS(ADDRESS_BITS),
        .QUEUE_BITS(QUEUE_BITS),
        .FAST(FAST)
      ) side (
        .clock(aclk),
        .reset(reset),
        .north_first(north_here[NORTH-1]),
        .north_address(north_here[ADDRESS_BITS-1:0]),
        .state_in(states_in[c*STATE+:STATE]),
        .south_valid(south_here[SOUTH-1]),
        .south_last(south_here[SOUTH-2]),
        .south_address(south_here[ADDRESS_BITS-1:0]),
        .state_out(states_out[c*STATE+:STATE]),
        .pop(taken),
        .result(m_axis_results_tdata[c*RESULT_BITS+:RESULT_BITS])
      );
    end
  endgenerate
  assign m_axis_results_tvalid = |ends_there;
  assign taken                 = m_axis_results_tvalid & m_axis_results_tready;
endmodule

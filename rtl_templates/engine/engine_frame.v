// What every engine has around its array and the ends of its columns: the three streams and their protocol, which matrix_engine
// tells, the order of things, the memories in which states wait between tiles, the queues of results. An engine puts in between:
//
//   weights_out, or the vector at the port  ->  west of the array, a word a clock
//   states_in  ->  north of the array, south  ->  states_out  ->  the end of each column  ->  ended
//
// weight: weights_out goes in now, load: as a tile's last word; hold: no tile's weights may begin to. accepted: the vector at the
// port goes in now; what the array is given in other clocks is passed over. Of a vector that goes in at clock t column 0 wants the
// state, start_state or what the tile before has left, at t + 1 + EARLY, and gives it back at t + FLIGHT; column c is c clocks
// later. The end of a column makes a result of a state in LATE clocks.
// For what an engine does beside: address, where the states of the vector at the port are; south_keep, a state leaves column 0
// now and goes into the memory, at south_address; tile_done, a tile's last vector is through the end of the last column.
module engine_frame #(
  parameter COLUMNS      = 4,
  parameter WORD_BITS    = 64,
  parameter STATE_BITS   = 33,
  parameter RESULT_BITS  = 32,
  parameter ADDRESS_BITS = 8,
  parameter EARLY        = 0,
  parameter FLIGHT       = 9,
  parameter LATE         = 1
) (
  input  wire                           aclk,
  input  wire                           aresetn,
  input  wire [WORD_BITS-1:0]           s_axis_weights_tdata,
  input  wire                           s_axis_weights_tlast,
  input  wire                           s_axis_weights_tvalid,
  output wire                           s_axis_weights_tready,
  input  wire [1:0]                     s_axis_activations_tuser,
  input  wire                           s_axis_activations_tlast,
  input  wire                           s_axis_activations_tvalid,
  output wire                           s_axis_activations_tready,
  output wire [COLUMNS*RESULT_BITS-1:0] m_axis_results_tdata,
  output wire                           m_axis_results_tlast,
  output wire                           m_axis_results_tvalid,
  input  wire                           m_axis_results_tready,
  output wire [5:0]                     fault,
  // the array's west
  input  wire                           hold,
  output wire                           weight,
  output wire                           load,
  output wire [WORD_BITS-1:0]           weights_out,
  output wire                           accepted,
  output wire [ADDRESS_BITS-1:0]        address,
  // its north and south, and the ends of its columns
  input  wire [STATE_BITS-1:0]          start_state,
  output wire [COLUMNS*STATE_BITS-1:0]  states_in,
  input  wire [COLUMNS*STATE_BITS-1:0]  states_out,
  input  wire [COLUMNS*RESULT_BITS-1:0] ended,
  // what goes on, for what an engine does beside
  output wire                           south_keep,
  output wire [ADDRESS_BITS-1:0]        south_address,
  output wire                           tile_done
);
  generate  // what the module is not made for stops elaboration
    if (COLUMNS < 1 || COLUMNS > 256) begin : refuse_COLUMNS engine_frame_needs_COLUMNS_from_1_to_256 stop (); end
    if (WORD_BITS < 1) begin : refuse_WORD_BITS engine_frame_needs_WORD_BITS_of_1_or_more stop (); end
    if (STATE_BITS < 1) begin : refuse_STATE_BITS engine_frame_needs_STATE_BITS_of_1_or_more stop (); end
    if (RESULT_BITS != 8 && RESULT_BITS != 16 && RESULT_BITS != 32) begin : refuse_RESULT_BITS
      engine_frame_needs_RESULT_BITS_8_16_or_32 stop ();
    end
    if (ADDRESS_BITS < 1 || ADDRESS_BITS > 16) begin : refuse_ADDRESS_BITS
      engine_frame_needs_ADDRESS_BITS_from_1_to_16 stop ();
    end
    if (EARLY < 0 || EARLY > 1) begin : refuse_EARLY engine_frame_needs_EARLY_0_or_1 stop (); end
    if (FLIGHT < 1 || FLIGHT > 1024) begin : refuse_FLIGHT engine_frame_needs_FLIGHT_from_1_to_1024 stop (); end
    if (LATE < 1 || LATE > 16) begin : refuse_LATE engine_frame_needs_LATE_from_1_to_16 stop (); end
  endgenerate
  localparam FLIGHT_BITS = ($clog2(FLIGHT + 2) > ADDRESS_BITS ? $clog2(FLIGHT + 2) : ADDRESS_BITS) + 1;
  localparam COLUMN_BITS = $clog2(COLUMNS + 1);
  localparam QUEUE_BITS  = $clog2(FLIGHT + COLUMNS + LATE + 3);  // of results: room for all that are on their way
  wire reset;
  assign reset = ~aresetn;

  // a whole tile's weights are there before the first goes in: they must not have gaps
  wire halted;
  wire weights_ready;
  wire weights_fault;
  engine_weights #(.COLUMNS(COLUMNS), .COLUMN_BITS(COLUMN_BITS), .WIDTH(WORD_BITS)) waiting_weights (
    .clock(aclk),
    .reset(reset),
    .halted(halted),
    .tdata(s_axis_weights_tdata),
    .tlast(s_axis_weights_tlast),
    .tvalid(s_axis_weights_tvalid),
    .tready(s_axis_weights_tready),
    .pop(weight),
    .weights(weights_out),
    .ready(weights_ready),
    .fault(weights_fault)
  );

  wire       taken;
  wire       written;
  wire [4:0] control_fault;
  wire       vector_ready;
  wire       vector_enters;
  engine_control #(
    .COLUMNS(COLUMNS),
    .COLUMN_BITS(COLUMN_BITS),
    .ADDRESS_BITS(ADDRESS_BITS),
    .QUEUE_BITS(QUEUE_BITS),
    .FLIGHT_BITS(FLIGHT_BITS)
  ) control (
    .clock(aclk),
    .reset(reset),
    .weights_ready(weights_ready & ~hold),
    .weights_broken(weights_fault & ~hold),  // a whole tile before the broken one may be what is held
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

  // a tag goes with each vector, to the north of column 0 and to its south, and from there to the east, a column in each clock
  localparam NORTH = ADDRESS_BITS + 1;  // first, address
  localparam SOUTH = ADDRESS_BITS + 3;  // valid, last, end, address
  wire [NORTH-1:0] north;
  wire [SOUTH-1:0] south;
  engine_delay #(.WIDTH(NORTH), .CLOCKS(EARLY)) to_north (
    .clock(aclk),
    .reset(1'b0),
    .data_in({s_axis_activations_tuser[0], address}),
    .data_out(north)
  );
  engine_delay #(.WIDTH(SOUTH), .CLOCKS(FLIGHT)) to_south (
    .clock(aclk),
    .reset(reset),
    .data_in({accepted, s_axis_activations_tuser[1], s_axis_activations_tlast, address}),
    .data_out(south)
  );
  assign written       = south[SOUTH-1];
  assign south_keep    = south[SOUTH-1] & ~south[SOUTH-2];
  assign south_address = south[ADDRESS_BITS-1:0];

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
        engine_delay #(.WIDTH(NORTH), .CLOCKS(1)) pass_north (
          .clock(aclk),
          .reset(1'b0),
          .data_in(column[c-1].north_here),
          .data_out(north_here)
        );
        engine_delay #(.WIDTH(SOUTH), .CLOCKS(1)) pass_south (
          .clock(aclk),
          .reset(reset),
          .data_in(column[c-1].south_here),
          .data_out(south_here)
        );
      end
      wire valid;
      wire last;
      assign valid = south_here[SOUTH-1];
      assign last  = south_here[SOUTH-2];
      engine_states #(.WIDTH(STATE_BITS), .ADDRESS_BITS(ADDRESS_BITS)) memory (
        .clock(aclk),
        .start_state(start_state),
        .north_first(north_here[NORTH-1]),
        .north_address(north_here[ADDRESS_BITS-1:0]),
        .state_in(states_in[c*STATE_BITS+:STATE_BITS]),
        .south_keep(valid & ~last),
        .south_address(south_here[ADDRESS_BITS-1:0]),
        .state_out(states_out[c*STATE_BITS+:STATE_BITS])
      );
      wire finished;
      engine_delay #(.WIDTH(1), .CLOCKS(LATE)) finish (
        .clock(aclk),
        .reset(reset),
        .data_in(valid & last),
        .data_out(finished)
      );
      wire [QUEUE_BITS:0] unused_level;  // the last column says for all how many there are
      engine_queue #(.WIDTH(RESULT_BITS), .LOG(QUEUE_BITS)) results (
        .clock(aclk),
        .reset(reset),
        .push(finished),
        .data_in(ended[c*RESULT_BITS+:RESULT_BITS]),
        .pop(taken),
        .data_out(m_axis_results_tdata[c*RESULT_BITS+:RESULT_BITS]),
        .level(unused_level)
      );
      if (c == COLUMNS - 1) begin : eastmost  // its results are the last: with them the word is whole, and the tile done
        wire last_of_tile;
        engine_delay #(.WIDTH(2), .CLOCKS(LATE)) finish_tile (
          .clock(aclk),
          .reset(reset),
          .data_in({south_here[SOUTH-3], valid & south_here[SOUTH-3]}),
          .data_out({last_of_tile, tile_done})
        );
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
    end
  endgenerate
  assign m_axis_results_tvalid = |ends_there;
  assign taken                 = m_axis_results_tvalid & m_axis_results_tready;
endmodule

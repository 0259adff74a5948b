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
  parameter STEP                  = 0,
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
    if (STEP < 0 || STEP == 3 || STEP > 4) begin : refuse_STEP matrix_engine_needs_STEP_0_1_2_or_4 stop (); end
    if (EXACT < 0 || EXACT > 1) begin : refuse_EXACT matrix_engine_needs_EXACT_0_or_1 stop (); end
    if (K < 0) begin : refuse_K matrix_engine_needs_K_of_0_or_more stop (); end
    if (L < 0) begin : refuse_L matrix_engine_needs_L_of_0_or_more stop (); end
    if (K + L >= W) begin : refuse_K_and_L matrix_engine_needs_K_plus_L_below_W stop (); end
    if (DEPTH < 1 || DEPTH > 4) begin : refuse_DEPTH matrix_engine_needs_DEPTH_from_1_to_4 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST matrix_engine_needs_FAST_from_0_to_2 stop (); end
    if (RESULT_BITS != 16 && RESULT_BITS != 32) begin : refuse_RESULT_BITS matrix_engine_needs_RESULT_BITS_16_or_32 stop (); end
    if (ADDRESS_BITS < 1 || ADDRESS_BITS > 16) begin : refuse_ADDRESS_BITS
      matrix_engine_needs_ADDRESS_BITS_from_1_to_16 stop ();
    end
  endgenerate
  localparam CODE   = EXPONENT_BITS + FRACTION_BITS + 1;
  localparam WORD   = ROWS * CODE;
  localparam STATE  = W + 13;
  localparam LAG    = DEPTH > 2 ? DEPTH - 1 : DEPTH;  // of an element
  localparam EARLY  = DEPTH > 2 ? 1 : 0;              // clocks from an operand to its state
  localparam FLIGHT = ROWS * LAG + EARLY + 1;         // clocks from a word to its state at the south of column 0
  wire                           weight;
  wire                           load;
  wire [WORD-1:0]                weights;
  wire                           accepted;
  wire [COLUMNS*STATE-1:0]       states_in;
  wire [COLUMNS*STATE-1:0]       states_out;
  wire [COLUMNS*RESULT_BITS-1:0] ended;
  wire [ADDRESS_BITS-1:0]        unused_address;  // nothing is done beside
  wire                           unused_keep;
  wire [ADDRESS_BITS-1:0]        unused_south;
  wire                           unused_done;
  engine_frame #(
    .COLUMNS(COLUMNS),
    .WORD_BITS(WORD),
    .STATE_BITS(STATE),
    .RESULT_BITS(RESULT_BITS),
    .ADDRESS_BITS(ADDRESS_BITS),
    .EARLY(EARLY),
    .FLIGHT(FLIGHT),
    .LATE(1)
  ) frame (
    .aclk(aclk),
    .aresetn(aresetn),
    .s_axis_weights_tdata(s_axis_weights_tdata),
    .s_axis_weights_tlast(s_axis_weights_tlast),
    .s_axis_weights_tvalid(s_axis_weights_tvalid),
    .s_axis_weights_tready(s_axis_weights_tready),
    .s_axis_activations_tuser(s_axis_activations_tuser),
    .s_axis_activations_tlast(s_axis_activations_tlast),
    .s_axis_activations_tvalid(s_axis_activations_tvalid),
    .s_axis_activations_tready(s_axis_activations_tready),
    .m_axis_results_tdata(m_axis_results_tdata),
    .m_axis_results_tlast(m_axis_results_tlast),
    .m_axis_results_tvalid(m_axis_results_tvalid),
    .m_axis_results_tready(m_axis_results_tready),
    .fault(fault),
    .hold(1'b0),
    .weight(weight),
    .load(load),
    .weights_out(weights),
    .accepted(accepted),
    .address(unused_address),
    .start_state({3'b000, 10'h200, {W{1'b0}}}),  // +0
    .states_in(states_in),
    .states_out(states_out),
    .ended(ended),
    .south_keep(unused_keep),
    .south_address(unused_south),
    .tile_done(unused_done)
  );
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
    .STEP(STEP),
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
  genvar c;
  generate
    for (c = 0; c < COLUMNS; c = c + 1) begin : column
      column_end #(.W(W), .STEP(STEP), .RESULT_BITS(RESULT_BITS), .FAST(FAST)) finish (
        .clock(aclk),
        .state(states_out[c*STATE+:STATE]),
        .code(ended[c*RESULT_BITS+:RESULT_BITS])
      );
    end
  endgenerate
endmodule

// An integer engine: a weight-stationary array of multiply-adds between AXI4-Streams, for A (M x K) times B (K x N) in tiles of at
// most ROWS x COLUMNS of B. For each tile: COLUMNS words of weights, of the last column first, tlast with the last word; then one
// word a vector of A, tlast with the last. A word holds one code a row, row 0 lowest; in a word of weights the constants of the
// column stand above them, as in integer_end, and count where the tile ends its chains. select chooses among several operators.
// tuser[0]: this tile begins its chains, from 0; without, it goes on from the sums that the tile before has left. tuser[1]: this
// tile ends its chains: each of its vectors yields one word of results, one a column, column 0 lowest, tlast with the tile's last.
// Of a chain of tiles all have the same vectors, 2^ADDRESS_BITS at most unless it is one tile. Results are those of integer_end.
// A word that breaks this sets a bit of fault, as in matrix_engine, and all that comes behind is taken in and comes to nothing.
module integer_engine #(
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
  parameter VARIATE_BITS  = 24,
  parameter BANK_BITS     = 1,
  parameter RESULT_BITS   = 8,
  parameter ADDRESS_BITS  = 8,
  parameter UNIT_BITS     = 0
) (
  input  wire                                                                                 aclk,
  input  wire                                                                                 aresetn,
  input  wire [SELECT_BITS-1:0]                                                               select,
  input  wire [ROWS*WEIGHT_BITS+32+(VARIATE > 0 ? 16 : 0)+(RESULT_BITS == 8 ? 64 : 0)+UNIT_BITS-1:0] s_axis_weights_tdata,
  input  wire                                                                                 s_axis_weights_tlast,
  input  wire                                                                                 s_axis_weights_tvalid,
  output wire                                                                                 s_axis_weights_tready,
  input  wire [ROWS*X_BITS-1:0]                                                               s_axis_activations_tdata,
  input  wire [1:0]                                                                           s_axis_activations_tuser,
  input  wire                                                                                 s_axis_activations_tlast,
  input  wire                                                                                 s_axis_activations_tvalid,
  output wire                                                                                 s_axis_activations_tready,
  output wire [COLUMNS*RESULT_BITS-1:0]                                                       m_axis_results_tdata,
  output wire                                                                                 m_axis_results_tlast,
  output wire                                                                                 m_axis_results_tvalid,
  input  wire                                                                                 m_axis_results_tready,
  output wire [5:0]                                                                           fault
);
  generate  // what the module is not made for stops elaboration
    if (ROWS < 1 || ROWS > 256) begin : refuse_ROWS integer_engine_needs_ROWS_from_1_to_256 stop (); end
    if (COLUMNS < 1 || COLUMNS > 256) begin : refuse_COLUMNS integer_engine_needs_COLUMNS_from_1_to_256 stop (); end
    if (WEIGHT_BITS < 2 || WEIGHT_BITS > 8) begin : refuse_WEIGHT_BITS
      integer_engine_needs_WEIGHT_BITS_from_2_to_8 stop ();
    end
    if (X_BITS < 2 || X_BITS > 8) begin : refuse_X_BITS integer_engine_needs_X_BITS_from_2_to_8 stop (); end
    if (PRODUCT_BITS < WEIGHT_BITS + X_BITS || PRODUCT_BITS > 32) begin : refuse_PRODUCT_BITS
      integer_engine_needs_PRODUCT_BITS_of_both_operands_to_32 stop ();
    end
    if (WEIGHT_SIGNED < 0 || WEIGHT_SIGNED > 1) begin : refuse_WEIGHT_SIGNED
      integer_engine_needs_WEIGHT_SIGNED_0_or_1 stop ();
    end
    if (X_SIGNED < 0 || X_SIGNED > 1) begin : refuse_X_SIGNED integer_engine_needs_X_SIGNED_0_or_1 stop (); end
    if (SELECT_BITS < 1 || SELECT_BITS > 8) begin : refuse_SELECT_BITS integer_engine_needs_SELECT_BITS_from_1_to_8 stop (); end
    if (SUM_BITS < 4 || SUM_BITS > 32) begin : refuse_SUM_BITS integer_engine_needs_SUM_BITS_from_4_to_32 stop (); end
    if (DEPTH < 1 || DEPTH > 2) begin : refuse_DEPTH integer_engine_needs_DEPTH_1_or_2 stop (); end
    if (ADDER < 0 || ADDER > 2) begin : refuse_ADDER integer_engine_needs_ADDER_from_0_to_2 stop (); end
    if (LOW < 1 || LOW >= SUM_BITS) begin : refuse_LOW integer_engine_needs_LOW_from_1_to_below_SUM_BITS stop (); end
    if (VARIATE < 0 || VARIATE > X_BITS) begin : refuse_VARIATE integer_engine_needs_VARIATE_from_0_to_X_BITS stop (); end
    if (VARIATE_BITS < 9 || VARIATE_BITS > 32) begin : refuse_VARIATE_BITS
      integer_engine_needs_VARIATE_BITS_from_9_to_32 stop ();
    end
    if (BANK_BITS < 1 || BANK_BITS > 4) begin : refuse_BANK_BITS integer_engine_needs_BANK_BITS_from_1_to_4 stop (); end
    if (RESULT_BITS != 8 && RESULT_BITS != 32) begin : refuse_RESULT_BITS integer_engine_needs_RESULT_BITS_8_or_32 stop (); end
    if (ADDRESS_BITS < 1 || ADDRESS_BITS > 16) begin : refuse_ADDRESS_BITS
      integer_engine_needs_ADDRESS_BITS_from_1_to_16 stop ();
    end
    if (UNIT_BITS < 0 || UNIT_BITS > (RESULT_BITS == 8 ? 8 : 0)) begin : refuse_UNIT_BITS
      integer_engine_needs_UNIT_BITS_from_0_to_8_and_0_for_sums stop ();
    end
  endgenerate
  // in clocks: FLIGHT from a word to its sum at the south of column 0, LATE from there to its result
  localparam CODE      = WEIGHT_BITS > X_BITS ? WEIGHT_BITS : X_BITS;
  localparam CONSTANTS = 32 + (VARIATE > 0 ? 16 : 0) + (RESULT_BITS == 8 ? 64 : 0) + UNIT_BITS;
  localparam WORD      = ROWS * WEIGHT_BITS + CONSTANTS;
  localparam FLIGHT    = ROWS + DEPTH;
  localparam LATE      = 1 + (VARIATE > 0 ? 1 : 0) + (RESULT_BITS == 8 ? 6 : 0) + (UNIT_BITS > 0 ? 1 : 0);
  localparam [COLUMNS:0] EASTMOST = {1'b1, {COLUMNS{1'b0}}};
  wire                           weight;
  wire                           load;
  wire [WORD-1:0]                weights;
  wire                           accepted;
  wire [ADDRESS_BITS-1:0]        address;
  wire [COLUMNS*SUM_BITS-1:0]    sums_in;
  wire [COLUMNS*SUM_BITS-1:0]    sums_out;
  wire                           south_keep;
  wire [ADDRESS_BITS-1:0]        south_address;
  wire [COLUMNS*RESULT_BITS-1:0] ended;
  wire                           bank_there;
  wire                           tile_done;
  engine_frame #(
    .COLUMNS(COLUMNS),
    .WORD_BITS(WORD),
    .STATE_BITS(SUM_BITS),
    .RESULT_BITS(RESULT_BITS),
    .ADDRESS_BITS(ADDRESS_BITS),
    .EARLY(DEPTH - 1),
    .FLIGHT(FLIGHT),
    .LATE(LATE)
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
    .hold(~bank_there),
    .weight(weight),
    .load(load),
    .weights_out(weights),
    .accepted(accepted),
    .address(address),
    .start_state({SUM_BITS{1'b0}}),
    .states_in(sums_in),
    .states_out(sums_out),
    .ended(ended),
    .south_keep(south_keep),
    .south_address(south_address),
    .tile_done(tile_done)
  );

  // a tile's constants take a bank of each column from its first word until its last result: without a free one it waits
  reg  [BANK_BITS:0]   tiles;        // that have a bank
  reg  [BANK_BITS-1:0] bank;         // of the tile whose vectors go in
  reg  [BANK_BITS-1:0] next_bank;
  reg  [COLUMNS-1:0]   turn;         // which column's word is the next
  reg  [COLUMNS-1:0]   writes;
  reg  [BANK_BITS-1:0] write_bank;
  reg  [CONSTANTS-1:0] constants;
  wire                 begins;
  assign bank_there = ~tiles[BANK_BITS];
  assign begins     = weight & turn[COLUMNS-1];
  always @(posedge aclk) begin
    if (~aresetn) begin
      tiles     <= {(BANK_BITS+1){1'b0}};
      next_bank <= {BANK_BITS{1'b0}};
      turn      <= EASTMOST[COLUMNS:1];
      writes    <= {COLUMNS{1'b0}};
    end else begin
      if (begins != tile_done)
        tiles <= begins ? tiles + {{BANK_BITS{1'b0}}, 1'b1} : tiles - {{BANK_BITS{1'b0}}, 1'b1};
      next_bank <= next_bank + {{(BANK_BITS-1){1'b0}}, load};
      if (weight) turn <= load ? EASTMOST[COLUMNS:1] : turn >> 1;
      writes <= turn & {COLUMNS{weight}};
    end
    if (load) bank <= next_bank;
    write_bank <= next_bank;
    constants  <= weights[WORD-1-:CONSTANTS];
  end

  // a code for each row: of the word of weights that goes in, of the vector that is accepted, else 0
  wire [ROWS*CODE-1:0] codes;
  genvar r, i, c;
  generate
    for (r = 0; r < ROWS; r = r + 1) begin : row
      for (i = 0; i < CODE; i = i + 1) begin : place
        if (i < WEIGHT_BITS && i < X_BITS) begin : of_both
          assign codes[r*CODE+i] = weight ? weights[r*WEIGHT_BITS+i] : s_axis_activations_tdata[r*X_BITS+i] & accepted;
        end else if (i < X_BITS) begin : of_x
          assign codes[r*CODE+i] = ~weight & accepted & s_axis_activations_tdata[r*X_BITS+i];
        end else begin : of_weights
          assign codes[r*CODE+i] = weight & weights[r*WEIGHT_BITS+i];
        end
      end
    end
  endgenerate
  wire [VARIATE_BITS-1:0] variate_in;
  wire [VARIATE_BITS-1:0] variate_out;
  integer_array #(
    .ROWS(ROWS),
    .COLUMNS(COLUMNS),
    .WEIGHT_BITS(WEIGHT_BITS),
    .X_BITS(X_BITS),
    .PRODUCT_BITS(PRODUCT_BITS),
    .WEIGHT_SIGNED(WEIGHT_SIGNED),
    .X_SIGNED(X_SIGNED),
    .SELECT_BITS(SELECT_BITS),
    .SUM_BITS(SUM_BITS),
    .DEPTH(DEPTH),
    .ADDER(ADDER),
    .LOW(LOW),
    .VARIATE(VARIATE),
    .VARIATE_BITS(VARIATE_BITS)
  ) array (
    .clock(aclk),
    .select(select),
    .codes(codes),
    .load(load),
    .sums_in(sums_in),
    .sums_out(sums_out),
    .variate_in(variate_in),
    .variate_out(variate_out)
  );
  generate
    if (VARIATE > 0) begin : variate
      engine_states #(.WIDTH(VARIATE_BITS), .ADDRESS_BITS(ADDRESS_BITS)) memory (
        .clock(aclk),
        .start_state({VARIATE_BITS{1'b0}}),
        .north_first(s_axis_activations_tuser[0]),
        .north_address(address),
        .state_in(variate_in),
        .south_keep(south_keep),
        .south_address(south_address),
        .state_out(variate_out)
      );
    end else begin : no_variate
      wire unused_south;
      assign unused_south = ^{address, south_keep, south_address};
      assign variate_in   = {VARIATE_BITS{1'b0}};
    end
  endgenerate

  // beside each sum at the south: the sum of its row, whether it is the last of its chain, and the bank of its tile
  wire                 south_leaves;
  wire [BANK_BITS-1:0] south_bank;
  engine_delay #(.WIDTH(1 + BANK_BITS), .CLOCKS(FLIGHT)) to_south (
    .clock(aclk),
    .reset(1'b0),
    .data_in({accepted & s_axis_activations_tuser[1], bank}),
    .data_out({south_leaves, south_bank})
  );
  generate
    for (c = 0; c < COLUMNS; c = c + 1) begin : column
      wire [VARIATE_BITS+BANK_BITS:0] beside;
      if (c == 0) begin : westmost
        assign beside = {variate_out, south_leaves, south_bank};
      end else begin : inner
        engine_delay #(.WIDTH(VARIATE_BITS + BANK_BITS + 1), .CLOCKS(1)) pass_east (
          .clock(aclk),
          .reset(1'b0),
          .data_in(column[c-1].beside),
          .data_out(beside)
        );
      end
      integer_end #(
        .SUM_BITS(SUM_BITS),
        .VARIATE(VARIATE),
        .VARIATE_BITS(VARIATE_BITS),
        .BANK_BITS(BANK_BITS),
        .RESULT_BITS(RESULT_BITS),
        .UNIT_BITS(UNIT_BITS)
      ) finish (
        .clock(aclk),
        .write(writes[c]),
        .write_bank(write_bank),
        .constants(constants),
        .bank(beside[BANK_BITS-1:0]),
        .leaves(beside[BANK_BITS]),
        .sum(sums_out[c*SUM_BITS+:SUM_BITS]),
        .variate(beside[BANK_BITS+1+:VARIATE_BITS]),
        .result(ended[c*RESULT_BITS+:RESULT_BITS])
      );
    end
  endgenerate
endmodule

// The order of things: the weights of a tile, COLUMNS words without a gap; then its vectors until the one that is the end;
// then the next tile. A vector waits until the state that it goes on from is in the memory, and, in a chain's last tile,
// until there is room for its result. Vectors may come with gaps.
// A vector that breaks the protocol does not go in, and sets its bit of fault: 0: a chain's first tile has more vectors than
// the memory holds; 1: a tile goes on from one of another number of vectors; 2: it goes on and no chain is open; 3: first or
// last changes inside of a tile; 4: a chain begins and the one before has not ended. Then, or when weights are wanted after
// weights_broken, all is halted until reset: vectors are taken, nothing comes of them, and those before finish.
module engine_control #(
  parameter COLUMNS      = 4,
  parameter COLUMN_BITS  = 3,
  parameter ADDRESS_BITS = 8,
  parameter QUEUE_BITS   = 5,
  parameter FLIGHT_BITS  = 9  // more than ADDRESS_BITS
) (
  input  wire                    clock,
  input  wire                    reset,
  input  wire                    weights_ready,
  input  wire                    weights_broken,
  input  wire                    vector_valid,
  input  wire                    vector_first,
  input  wire                    vector_last,
  input  wire                    vector_end,
  input  wire                    written,
  input  wire                    taken,
  output wire                    weight,
  output wire                    load,
  output wire                    vector_ready,
  output wire                    vector_enters,
  output reg  [ADDRESS_BITS-1:0] address,
  output wire                    halted,
  output reg  [4:0]              fault
);
  generate  // what the module is not made for stops elaboration
    if (COLUMNS < 1 || COLUMNS > 256) begin : refuse_COLUMNS engine_control_needs_COLUMNS_from_1_to_256 stop (); end
    if (COLUMN_BITS < 1 || COLUMN_BITS > 16 || COLUMNS > (1 << COLUMN_BITS)) begin : refuse_COLUMN_BITS
      engine_control_needs_COLUMN_BITS_that_hold_COLUMNS_words stop ();
    end
    if (ADDRESS_BITS < 1 || ADDRESS_BITS > 16) begin : refuse_ADDRESS_BITS
      engine_control_needs_ADDRESS_BITS_from_1_to_16 stop ();
    end
    if (QUEUE_BITS < 1 || QUEUE_BITS > 16) begin : refuse_QUEUE_BITS engine_control_needs_QUEUE_BITS_from_1_to_16 stop (); end
    if (FLIGHT_BITS <= ADDRESS_BITS || FLIGHT_BITS > 31) begin : refuse_FLIGHT_BITS
      engine_control_needs_FLIGHT_BITS_above_ADDRESS_BITS_and_at_most_31 stop ();
    end
  endgenerate
  localparam [31:0] LAST_COLUMN = COLUMNS - 1;
  reg                    streaming;
  reg [COLUMN_BITS-1:0]  word;
  reg [ADDRESS_BITS:0]   previous;  // vectors of the tile before
  reg [FLIGHT_BITS-1:0]  flying;    // vectors on their way whose state is not written yet
  reg [QUEUE_BITS:0]     promised;  // results on their way or not taken yet
  reg                    under_way;  // a tile's first vector is in, its end is not
  reg                    open;      // the tile before has left a chain's states
  reg                    tile_first;
  reg                    tile_last;
  wire                   loading;
  assign loading = weights_ready | (|word);
  assign halted  = (|fault) | (weights_broken & ~streaming & ~loading);
  assign weight  = ~streaming & loading & ~(|fault);
  assign load    = weight & (word == LAST_COLUMN[COLUMN_BITS-1:0]);

  wire [ADDRESS_BITS:0] count;  // vectors of this tile with this one
  wire                  changed;
  wire                  orphaned;
  wire [4:0]            broken;
  assign count     = {1'b0, address} + {{ADDRESS_BITS{1'b0}}, 1'b1};
  assign changed   = under_way & ((vector_first ^ tile_first) | (vector_last ^ tile_last));
  assign orphaned  = ~under_way & ~vector_first & ~open;
  assign broken[0] = ~changed & vector_first & ~vector_last & ~vector_end & count[ADDRESS_BITS];
  assign broken[1] = ~changed & ~orphaned & ~vector_first & (vector_end ^ (count == previous));
  assign broken[2] = orphaned;
  assign broken[3] = changed;
  assign broken[4] = ~under_way & vector_first & open;

  wire state_there;
  wire room;
  wire lawful;
  wire promise;
  assign state_there   = vector_first | (flying < {{(FLIGHT_BITS-ADDRESS_BITS-1){1'b0}}, previous});
  assign room          = ~vector_last | ~promised[QUEUE_BITS];
  assign lawful        = ~(|broken);
  assign vector_ready  = halted | (streaming & (~lawful | (state_there & room)));
  assign vector_enters = vector_valid & streaming & lawful & state_there & room & ~(|fault);
  assign promise       = vector_enters & vector_last;
  always @(posedge clock) begin
    if (reset) begin
      streaming <= 1'b0;
      word      <= {COLUMN_BITS{1'b0}};
      address   <= {ADDRESS_BITS{1'b0}};
      previous  <= {(ADDRESS_BITS+1){1'b0}};
      flying    <= {FLIGHT_BITS{1'b0}};
      promised  <= {(QUEUE_BITS+1){1'b0}};
      under_way    <= 1'b0;
      open      <= 1'b0;
      fault     <= 5'd0;
    end else begin
      if (weight) word <= load ? {COLUMN_BITS{1'b0}} : word + {{(COLUMN_BITS-1){1'b0}}, 1'b1};
      if (load) streaming <= 1'b1;
      if (vector_enters) begin
        address <= vector_end ? {ADDRESS_BITS{1'b0}} : count[ADDRESS_BITS-1:0];
        under_way <= ~vector_end;
        if (vector_end) begin
          streaming <= 1'b0;
          previous  <= count;
          open      <= ~vector_last;
        end
      end
      if (vector_valid & streaming & ~(|fault)) fault <= broken;
      if (vector_enters != written)
        flying <= vector_enters ? flying + {{(FLIGHT_BITS-1){1'b0}}, 1'b1} : flying - {{(FLIGHT_BITS-1){1'b0}}, 1'b1};
      if (promise != taken)
        promised <= promise ? promised + {{QUEUE_BITS{1'b0}}, 1'b1} : promised - {{QUEUE_BITS{1'b0}}, 1'b1};
    end
    if (vector_enters & ~under_way) {tile_first, tile_last} <= {vector_first, vector_last};
  end
endmodule

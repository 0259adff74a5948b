// The order of things: the weights of a tile, COLUMNS words without a gap; then its vectors until the one that is the end;
// then the next tile. A vector waits until the state that it goes on from is in the memory, and, in a chain's last tile,
// until there is room for its result. Vectors may come with gaps.
// fault, until reset: 0: a tile has more vectors than the memory holds; 1: it goes on from a tile of another number of them.
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
  input  wire                    vector_valid,
  input  wire                    vector_first,
  input  wire                    vector_last,
  input  wire                    vector_end,
  input  wire                    written,
  input  wire                    taken,
  output wire                    weight,
  output wire                    load,
  output wire                    vector_ready,
  output reg  [ADDRESS_BITS-1:0] address,
  output reg  [1:0]              fault
);
  localparam [31:0] LAST_COLUMN = COLUMNS - 1;
  reg                    streaming;
  reg [COLUMN_BITS-1:0]  word;
  reg [ADDRESS_BITS:0]   previous;    // vectors of the tile before
  reg [FLIGHT_BITS-1:0]  flying;    // vectors on their way whose state is not written yet
  reg [QUEUE_BITS:0]     promised;  // results on their way or not taken yet
  assign weight = ~streaming & (weights_ready | (|word));
  assign load   = weight & (word == LAST_COLUMN[COLUMN_BITS-1:0]);

  wire state_there;
  wire room;
  wire accepted;
  wire promise;
  wire whole;  // the memory is full behind this vector
  assign state_there  = vector_first | (flying < {{(FLIGHT_BITS-ADDRESS_BITS-1){1'b0}}, previous});
  assign room         = ~vector_last | ~promised[QUEUE_BITS];
  assign vector_ready = streaming & state_there & room;
  assign accepted     = vector_ready & vector_valid;
  assign promise      = accepted & vector_last;
  assign whole        = &address;
  always @(posedge clock) begin
    if (reset) begin
      streaming <= 1'b0;
      word      <= {COLUMN_BITS{1'b0}};
      address   <= {ADDRESS_BITS{1'b0}};
      previous  <= {(ADDRESS_BITS+1){1'b0}};
      flying    <= {FLIGHT_BITS{1'b0}};
      promised  <= {(QUEUE_BITS+1){1'b0}};
      fault     <= 2'b00;
    end else begin
      if (weight) word <= load ? {COLUMN_BITS{1'b0}} : word + {{(COLUMN_BITS-1){1'b0}}, 1'b1};
      if (load) streaming <= 1'b1;
      if (accepted) begin
        address <= vector_end ? {ADDRESS_BITS{1'b0}} : address + {{(ADDRESS_BITS-1){1'b0}}, 1'b1};
        if (vector_end) begin
          streaming <= 1'b0;
          previous  <= {1'b0, address} + {{ADDRESS_BITS{1'b0}}, 1'b1};
          if (~vector_first & (previous != {1'b0, address} + {{ADDRESS_BITS{1'b0}}, 1'b1})) fault[1] <= 1'b1;
        end
        if (whole & ~vector_end & ~(vector_first & vector_last)) fault[0] <= 1'b1;
      end
      if (accepted != written)
        flying <= accepted ? flying + {{(FLIGHT_BITS-1){1'b0}}, 1'b1} : flying - {{(FLIGHT_BITS-1){1'b0}}, 1'b1};
      if (promise != taken)
        promised <= promise ? promised + {{QUEUE_BITS{1'b0}}, 1'b1} : promised - {{QUEUE_BITS{1'b0}}, 1'b1};
    end
  end
endmodule

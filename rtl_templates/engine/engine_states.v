// Where the states of a column wait between two tiles of a chain: 2^ADDRESS_BITS of them. north_*: a vector whose state is wanted
// in the next clock, start_state (first) or from the memory. south_*: a state that leaves the array now and goes on (keep).
module engine_states #(
  parameter WIDTH        = 33,
  parameter ADDRESS_BITS = 8
) (
  input  wire                    clock,
  input  wire [WIDTH-1:0]        start_state,
  input  wire                    north_first,
  input  wire [ADDRESS_BITS-1:0] north_address,
  output wire [WIDTH-1:0]        state_in,
  input  wire                    south_keep,
  input  wire [ADDRESS_BITS-1:0] south_address,
  input  wire [WIDTH-1:0]        state_out
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH engine_states_needs_WIDTH_of_1_or_more stop (); end
    if (ADDRESS_BITS < 1 || ADDRESS_BITS > 16) begin : refuse_ADDRESS_BITS
      engine_states_needs_ADDRESS_BITS_from_1_to_16 stop ();
    end
  endgenerate
  reg [WIDTH-1:0] states [0:(1<<ADDRESS_BITS)-1];
  reg [WIDTH-1:0] waited;
  reg             start;
  always @(posedge clock) begin
    waited <= states[north_address];
    start  <= north_first;
    if (south_keep) states[south_address] <= state_out;
  end
  assign state_in = start ? start_state : waited;
endmodule

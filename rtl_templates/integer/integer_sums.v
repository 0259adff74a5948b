// Where sums wait between two tiles of a chain: 2^ADDRESS_BITS of them. north_*: a vector whose sum is wanted in the next clock, 0
// (first) or from the memory. south_*: a sum that leaves the array now and goes on (keep).
module integer_sums #(
  parameter WIDTH        = 24,
  parameter ADDRESS_BITS = 8
) (
  input  wire                    clock,
  input  wire                    north_first,
  input  wire [ADDRESS_BITS-1:0] north_address,
  output wire [WIDTH-1:0]        sum_in,
  input  wire                    south_keep,
  input  wire [ADDRESS_BITS-1:0] south_address,
  input  wire [WIDTH-1:0]        sum_out
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH integer_sums_needs_WIDTH_of_1_or_more stop (); end
    if (ADDRESS_BITS < 1 || ADDRESS_BITS > 16) begin : refuse_ADDRESS_BITS
      integer_sums_needs_ADDRESS_BITS_from_1_to_16 stop ();
    end
  endgenerate
  reg [WIDTH-1:0] sums [0:(1<<ADDRESS_BITS)-1];
  reg [WIDTH-1:0] waited;
  reg             start;
  always @(posedge clock) begin
    waited <= sums[north_address];
    start  <= north_first;
    if (south_keep) sums[south_address] <= sum_out;
  end
  assign sum_in = waited & ~{WIDTH{start}};
endmodule

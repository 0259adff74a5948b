// A queue of 2^LOG words: data_out is the oldest, level how many there are. Pushed when full or popped when empty it breaks.
module engine_queue #(
  parameter WIDTH = 32,
  parameter LOG   = 4
) (
  input  wire             clock,
  input  wire             reset,
  input  wire             push,
  input  wire [WIDTH-1:0] data_in,
  input  wire             pop,
  output wire [WIDTH-1:0] data_out,
  output reg  [LOG:0]     level
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH engine_queue_needs_WIDTH_of_1_or_more stop (); end
    if (LOG < 1 || LOG > 16) begin : refuse_LOG engine_queue_needs_LOG_from_1_to_16 stop (); end
  endgenerate
  reg [WIDTH-1:0] words [0:(1<<LOG)-1];
  reg [LOG-1:0]   newest;
  reg [LOG-1:0]   oldest;
  assign data_out = words[oldest];
  always @(posedge clock) begin
    if (push) words[newest] <= data_in;
    if (reset) begin
      newest <= {LOG{1'b0}};
      oldest <= {LOG{1'b0}};
      level  <= {(LOG+1){1'b0}};
    end else begin
      newest <= newest + {{(LOG-1){1'b0}}, push};
      oldest <= oldest + {{(LOG-1){1'b0}}, pop};
      if (push != pop) level <= push ? level + {{LOG{1'b0}}, 1'b1} : level - {{LOG{1'b0}}, 1'b1};
    end
  end
endmodule

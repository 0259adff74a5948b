// What comes in goes out CLOCKS clocks later, in the same clock for 0. A reset makes all that is on its way 0; where nobody minds
// what is on its way, reset is tied to 0, and no register has one.
module engine_delay #(
  parameter WIDTH  = 8,
  parameter CLOCKS = 1
) (
  input  wire             clock,
  input  wire             reset,
  input  wire [WIDTH-1:0] data_in,
  output wire [WIDTH-1:0] data_out
);
  generate  // what the module is not made for stops elaboration
    if (WIDTH < 1) begin : refuse_WIDTH engine_delay_needs_WIDTH_of_1_or_more stop (); end
    if (CLOCKS < 0) begin : refuse_CLOCKS engine_delay_needs_CLOCKS_of_0_or_more stop (); end
    if (CLOCKS == 0) begin : at_once
      wire unused_inputs;
      assign unused_inputs = clock ^ reset;
      assign data_out      = data_in;
    end else if (CLOCKS == 1) begin : by_one
      reg [WIDTH-1:0] late;
      always @(posedge clock) late <= reset ? {WIDTH{1'b0}} : data_in;
      assign data_out = late;
    end else begin : by_more
      reg [CLOCKS*WIDTH-1:0] late;  // the newest lowest
      always @(posedge clock) late <= reset ? {CLOCKS*WIDTH{1'b0}} : {late[(CLOCKS-1)*WIDTH-1:0], data_in};
      assign data_out = late[CLOCKS*WIDTH-1-:WIDTH];
    end
  endgenerate
endmodule

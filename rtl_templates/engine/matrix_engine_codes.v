// A matrix_engine of bfloat16 whose weights, activations or both come as 8-bit codes: WEIGHT_CODES and ACTIVATION_CODES are 0
// for bfloat16, else 1 + KIND of eight_bit_decode. A word of codes is ROWS codes, row 0 lowest, and above them the exponent of
// their block's maximum, a power of two, in two's complement; a code of 0 is 0 under any. All else is as in matrix_engine.
module matrix_engine_codes #(
  parameter ROWS             = 4,
  parameter COLUMNS          = 4,
  parameter W                = 20,
  parameter ALIGN            = 5,
  parameter EXACT            = 0,
  parameter K                = 1,
  parameter L                = 2,
  parameter DEPTH            = 2,
  parameter FAST             = 0,
  parameter RESULT_BITS      = 32,
  parameter ADDRESS_BITS     = 8,
  parameter WEIGHT_CODES     = 1,
  parameter ACTIVATION_CODES = 0
) (
  input  wire                                                   aclk,
  input  wire                                                   aresetn,
  input  wire [(WEIGHT_CODES != 0 ? 8*ROWS+8 : 16*ROWS)-1:0]     s_axis_weights_tdata,
  input  wire                                                   s_axis_weights_tlast,
  input  wire                                                   s_axis_weights_tvalid,
  output wire                                                   s_axis_weights_tready,
  input  wire [(ACTIVATION_CODES != 0 ? 8*ROWS+8 : 16*ROWS)-1:0] s_axis_activations_tdata,
  input  wire [1:0]                                             s_axis_activations_tuser,
  input  wire                                                   s_axis_activations_tlast,
  input  wire                                                   s_axis_activations_tvalid,
  output wire                                                   s_axis_activations_tready,
  output wire [COLUMNS*RESULT_BITS-1:0]                         m_axis_results_tdata,
  output wire                                                   m_axis_results_tlast,
  output wire                                                   m_axis_results_tvalid,
  input  wire                                                   m_axis_results_tready,
  output wire [2:0]                                             fault
);
  wire [16*ROWS-1:0] weights;
  wire               weights_last;
  wire               weights_valid;
  wire               weights_ready;
  wire [16*ROWS-1:0] activations;
  wire [1:0]         activations_user;
  wire               activations_last;
  wire               activations_valid;
  wire               activations_ready;
  generate
    if (WEIGHT_CODES != 0) begin : coded_weights
      engine_codes #(.KIND(WEIGHT_CODES - 1), .LANES(ROWS), .BESIDE(1)) decode (
        .clock(aclk),
        .reset(~aresetn),
        .word_in(s_axis_weights_tdata),
        .beside_in(s_axis_weights_tlast),
        .valid_in(s_axis_weights_tvalid),
        .ready_in(s_axis_weights_tready),
        .word_out(weights),
        .beside_out(weights_last),
        .valid_out(weights_valid),
        .ready_out(weights_ready)
      );
    end else begin : plain_weights
      assign weights               = s_axis_weights_tdata;
      assign weights_last          = s_axis_weights_tlast;
      assign weights_valid         = s_axis_weights_tvalid;
      assign s_axis_weights_tready = weights_ready;
    end
    if (ACTIVATION_CODES != 0) begin : coded_activations
      engine_codes #(.KIND(ACTIVATION_CODES - 1), .LANES(ROWS), .BESIDE(3)) decode (
        .clock(aclk),
        .reset(~aresetn),
        .word_in(s_axis_activations_tdata),
        .beside_in({s_axis_activations_tuser, s_axis_activations_tlast}),
        .valid_in(s_axis_activations_tvalid),
        .ready_in(s_axis_activations_tready),
        .word_out(activations),
        .beside_out({activations_user, activations_last}),
        .valid_out(activations_valid),
        .ready_out(activations_ready)
      );
    end else begin : plain_activations
      assign activations               = s_axis_activations_tdata;
      assign activations_user          = s_axis_activations_tuser;
      assign activations_last          = s_axis_activations_tlast;
      assign activations_valid         = s_axis_activations_tvalid;
      assign s_axis_activations_tready = activations_ready;
    end
  endgenerate
  matrix_engine #(
    .ROWS(ROWS),
    .COLUMNS(COLUMNS),
    .EXPONENT_BITS(8),
    .FRACTION_BITS(7),
    .INFINITY(1),
    .SUBNORMALS(0),
    .OPERAND_EXPONENT_BITS(8),
    .W(W),
    .ALIGN(ALIGN),
    .EXACT(EXACT),
    .K(K),
    .L(L),
    .DEPTH(DEPTH),
    .FAST(FAST),
    .RESULT_BITS(RESULT_BITS),
    .ADDRESS_BITS(ADDRESS_BITS)
  ) engine (
    .aclk(aclk),
    .aresetn(aresetn),
    .s_axis_weights_tdata(weights),
    .s_axis_weights_tlast(weights_last),
    .s_axis_weights_tvalid(weights_valid),
    .s_axis_weights_tready(weights_ready),
    .s_axis_activations_tdata(activations),
    .s_axis_activations_tuser(activations_user),
    .s_axis_activations_tlast(activations_last),
    .s_axis_activations_tvalid(activations_valid),
    .s_axis_activations_tready(activations_ready),
    .m_axis_results_tdata(m_axis_results_tdata),
    .m_axis_results_tlast(m_axis_results_tlast),
    .m_axis_results_tvalid(m_axis_results_tvalid),
    .m_axis_results_tready(m_axis_results_tready),
    .fault(fault)
  );
endmodule

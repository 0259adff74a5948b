// A matrix_engine of bfloat16 whose weights, activations or both come as 8-bit codes: WEIGHT_CODES and ACTIVATION_CODES are 0
// for bfloat16, else 1 + KIND of eight_bit_decode. A word of codes is ROWS codes, row 0 lowest, and above them the exponent of
// their block's maximum, a power of two, in two's complement, from -96 on; a code of 0 is 0 under any. All else is as in
// matrix_engine. fault[6]: a word of codes that are not all 0 came with an exponent below -96; the other bits are then 0.
module matrix_engine_codes #(
  parameter ROWS             = 4,
  parameter COLUMNS          = 4,
  parameter W                = 20,
  parameter ALIGN            = 5,
  parameter STEP             = 0,
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
  output wire [6:0]                                             fault
);
  generate  // what the module is not made for stops elaboration
    if (ROWS < 1 || ROWS > 256) begin : refuse_ROWS matrix_engine_codes_needs_ROWS_from_1_to_256 stop (); end
    if (COLUMNS < 1 || COLUMNS > 256) begin : refuse_COLUMNS matrix_engine_codes_needs_COLUMNS_from_1_to_256 stop (); end
    if (W < 16 || W > 32) begin : refuse_W matrix_engine_codes_needs_W_from_16_to_32 stop (); end
    if (ALIGN < 1 || ALIGN > 5) begin : refuse_ALIGN matrix_engine_codes_needs_ALIGN_from_1_to_5 stop (); end
    if (STEP < 0 || STEP == 3 || STEP > 4) begin : refuse_STEP matrix_engine_codes_needs_STEP_0_1_2_or_4 stop (); end
    if (EXACT < 0 || EXACT > 1) begin : refuse_EXACT matrix_engine_codes_needs_EXACT_0_or_1 stop (); end
    if (K < 0) begin : refuse_K matrix_engine_codes_needs_K_of_0_or_more stop (); end
    if (L < 0) begin : refuse_L matrix_engine_codes_needs_L_of_0_or_more stop (); end
    if (K + L >= W) begin : refuse_K_and_L matrix_engine_codes_needs_K_plus_L_below_W stop (); end
    if (DEPTH < 1 || DEPTH > 4) begin : refuse_DEPTH matrix_engine_codes_needs_DEPTH_from_1_to_4 stop (); end
    if (FAST < 0 || FAST > 2) begin : refuse_FAST matrix_engine_codes_needs_FAST_from_0_to_2 stop (); end
    if (RESULT_BITS != 16 && RESULT_BITS != 32) begin : refuse_RESULT_BITS
      matrix_engine_codes_needs_RESULT_BITS_16_or_32 stop ();
    end
    if (ADDRESS_BITS < 1 || ADDRESS_BITS > 16) begin : refuse_ADDRESS_BITS
      matrix_engine_codes_needs_ADDRESS_BITS_from_1_to_16 stop ();
    end
    if (WEIGHT_CODES < 0 || WEIGHT_CODES > 4) begin : refuse_WEIGHT_CODES
      matrix_engine_codes_needs_WEIGHT_CODES_from_0_to_4 stop ();
    end
    if (ACTIVATION_CODES < 0 || ACTIVATION_CODES > 4) begin : refuse_ACTIVATION_CODES
      matrix_engine_codes_needs_ACTIVATION_CODES_from_0_to_4 stop ();
    end
  endgenerate
  wire [16*ROWS-1:0] weights;
  wire               weights_last;
  wire               weights_valid;
  wire               weights_ready;
  wire [16*ROWS-1:0] activations;
  wire [1:0]         activations_user;
  wire               activations_last;
  wire               activations_valid;
  wire               activations_ready;
  wire               weights_invalid;
  wire               activations_invalid;
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
        .invalid_out(weights_invalid),
        .valid_out(weights_valid),
        .ready_out(weights_ready)
      );
    end else begin : plain_weights
      assign weights               = s_axis_weights_tdata;
      assign weights_last          = s_axis_weights_tlast;
      assign weights_invalid       = 1'b0;
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
        .invalid_out(activations_invalid),
        .valid_out(activations_valid),
        .ready_out(activations_ready)
      );
    end else begin : plain_activations
      assign activations               = s_axis_activations_tdata;
      assign activations_user          = s_axis_activations_tuser;
      assign activations_last          = s_axis_activations_tlast;
      assign activations_invalid       = 1'b0;
      assign activations_valid         = s_axis_activations_tvalid;
      assign s_axis_activations_tready = activations_ready;
    end
  endgenerate
  // behind a word that no number comes of the engine is shown words that break the protocol, whatever that one was: so it
  // halts at its tile. Weights end no tile any more; a vector neither begins nor ends anything, and the next one begins.
  reg        weights_spoiled;
  reg        activations_spoiled;
  wire [5:0] engine_fault;
  wire       untouched;
  assign untouched = ~(|engine_fault);
  always @(posedge aclk)
    if (~aresetn) begin
      weights_spoiled     <= 1'b0;
      activations_spoiled <= 1'b0;
    end else begin
      if (weights_invalid & weights_valid & weights_ready & untouched) weights_spoiled <= 1'b1;
      if (activations_invalid & activations_valid & activations_ready & untouched) activations_spoiled <= 1'b1;
    end
  wire code_fault;
  assign code_fault = weights_spoiled | activations_spoiled;
  assign fault      = {code_fault, engine_fault & {6{~code_fault}}};
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
    .STEP(STEP),
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
    .s_axis_weights_tlast(weights_last & ~weights_invalid & ~weights_spoiled),
    .s_axis_weights_tvalid(weights_valid | weights_spoiled),
    .s_axis_weights_tready(weights_ready),
    .s_axis_activations_tdata(activations),
    .s_axis_activations_tuser(activations_spoiled ? 2'b01 : activations_user & {2{~activations_invalid}}),
    .s_axis_activations_tlast(activations_last & ~activations_invalid & ~activations_spoiled),
    .s_axis_activations_tvalid(activations_valid | activations_spoiled),
    .s_axis_activations_tready(activations_ready),
    .m_axis_results_tdata(m_axis_results_tdata),
    .m_axis_results_tlast(m_axis_results_tlast),
    .m_axis_results_tvalid(m_axis_results_tvalid),
    .m_axis_results_tready(m_axis_results_tready),
    .fault(engine_fault)
  );
endmodule

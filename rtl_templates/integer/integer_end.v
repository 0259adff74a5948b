// The south end of a column: total = sum + bias, and with VARIATE + coefficient * variate, modulo 2^32; RESULT_BITS = 32: that is
// the result, a clock later, two with VARIATE; 8: it is requantized to a code, 6 clocks after that. constants, from bit 0: bias
// (32 bits), coefficient (16 bits, with VARIATE), those of integer_requantize (64 bits, if RESULT_BITS = 8); they wait in banks.
// UNIT_BITS > 0, for codes alone: above them stands which activation unit a code goes through, 0 for none; that takes a clock more.
// leaves: this sum is the last of its chain. What is made of others nobody reads: without leaves the registers that all else
// stands behind keep what they hold, so that multipliers rest while tiles go on from one another.
module integer_end #(
  parameter SUM_BITS     = 24,
  parameter VARIATE      = 0,
  parameter VARIATE_BITS = 24,
  parameter BANK_BITS    = 1,
  parameter RESULT_BITS  = 8,
  parameter UNIT_BITS    = 0
) (
  input  wire                                                                       clock,
  input  wire                                                                       write,
  input  wire [BANK_BITS-1:0]                                                       write_bank,
  input  wire [32+(VARIATE > 0 ? 16 : 0)+(RESULT_BITS == 8 ? 64 : 0)+UNIT_BITS-1:0] constants,
  input  wire [BANK_BITS-1:0]                                                       bank,
  input  wire                                                                       leaves,
  input  wire [SUM_BITS-1:0]                                                        sum,
  input  wire [VARIATE_BITS-1:0]                                                    variate,
  output wire [RESULT_BITS-1:0]                                                     result
);
  generate  // what the module is not made for stops elaboration
    if (SUM_BITS < 4 || SUM_BITS > 32) begin : refuse_SUM_BITS integer_end_needs_SUM_BITS_from_4_to_32 stop (); end
    if (VARIATE < 0 || VARIATE > 8) begin : refuse_VARIATE integer_end_needs_VARIATE_from_0_to_8 stop (); end
    if (VARIATE_BITS < 9 || VARIATE_BITS > 32) begin : refuse_VARIATE_BITS
      integer_end_needs_VARIATE_BITS_from_9_to_32 stop ();
    end
    if (BANK_BITS < 1 || BANK_BITS > 4) begin : refuse_BANK_BITS integer_end_needs_BANK_BITS_from_1_to_4 stop (); end
    if (RESULT_BITS != 8 && RESULT_BITS != 32) begin : refuse_RESULT_BITS integer_end_needs_RESULT_BITS_8_or_32 stop (); end
    if (UNIT_BITS < 0 || UNIT_BITS > (RESULT_BITS == 8 ? 8 : 0)) begin : refuse_UNIT_BITS
      integer_end_needs_UNIT_BITS_from_0_to_8_and_0_for_sums stop ();
    end
  endgenerate
  reg  [31:0] biases [0:(1<<BANK_BITS)-1];
  wire [31:0] wide_sum;
  reg  [31:0] with_bias;
  always @(posedge clock) begin
    if (write) biases[write_bank] <= constants[31:0];
    if (leaves) with_bias <= wide_sum + biases[bank];
  end
  generate
    if (SUM_BITS < 32) begin : widened
      assign wide_sum = {{(32-SUM_BITS){sum[SUM_BITS-1]}}, sum};
    end else begin : as_it_is
      assign wide_sum = sum;
    end
  endgenerate

  wire [31:0]          total;
  wire [BANK_BITS-1:0] total_bank;
  reg  [BANK_BITS-1:0] bank_late;
  always @(posedge clock) if (leaves) bank_late <= bank;
  generate
    if (VARIATE > 0) begin : with_variate
      reg  [15:0] coefficients [0:(1<<BANK_BITS)-1];
      wire [15:0] coefficient;
      wire [31:0] wide_variate;
      reg  [31:0] lower;  // a byte of the coefficient at a time
      reg  [23:0] upper;
      reg  [31:0] corrected;
      reg  [BANK_BITS-1:0] bank_later;
      if (VARIATE_BITS < 32) begin : widened
        assign wide_variate = {{(32-VARIATE_BITS){variate[VARIATE_BITS-1]}}, variate};
      end else begin : as_it_is
        assign wide_variate = variate;
      end
      assign coefficient = coefficients[bank];
      always @(posedge clock) begin
        if (write) coefficients[write_bank] <= constants[47:32];
        if (leaves) begin
          lower <= wide_variate * {24'd0, coefficient[7:0]};
          upper <= wide_variate[23:0] * {{16{coefficient[15]}}, coefficient[15:8]};
        end
        corrected  <= with_bias + lower + {upper, 8'd0};
        bank_later <= bank_late;
      end
      assign total      = corrected;
      assign total_bank = bank_later;
    end else begin : without_variate
      wire unused_variate;
      assign unused_variate = ^variate;
      assign total          = with_bias;
      assign total_bank     = bank_late;
    end
    if (RESULT_BITS == 8) begin : to_a_code
      wire [7:0] code;
      integer_requantize #(.BANK_BITS(BANK_BITS)) requantize (
        .clock(clock),
        .write(write),
        .write_bank(write_bank),
        .constants(constants[32+(VARIATE > 0 ? 16 : 0)+:64]),
        .bank(total_bank),
        .total(total),
        .code(code)
      );
      if (UNIT_BITS > 0) begin : through_a_unit
        reg  [UNIT_BITS-1:0] units [0:(1<<BANK_BITS)-1];
        wire [BANK_BITS-1:0] code_bank;
        wire [7:0]           made;
        reg  [7:0]           value;
        engine_delay #(.WIDTH(BANK_BITS), .CLOCKS(6)) with_the_code (
          .clock(clock),
          .reset(1'b0),
          .data_in(total_bank),
          .data_out(code_bank)
        );
        column_units #(.UNIT_BITS(UNIT_BITS)) chosen (.unit(units[code_bank]), .code(code), .value(made));
        always @(posedge clock) begin
          if (write) units[write_bank] <= constants[96+(VARIATE > 0 ? 16 : 0)+:UNIT_BITS];
          value <= made;
        end
        assign result = value;
      end else begin : as_it_is
        assign result = code;
      end
    end else begin : as_a_sum
      wire unused_bank;
      assign unused_bank = ^total_bank;
      assign result      = total;
    end
  endgenerate
endmodule

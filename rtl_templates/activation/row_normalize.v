// y[i] = sign(c[i]) * (|c[i]| * FACTOR / r), rounded towards 0: c[i] = COUNT * x[i] - (sum of all x), r = square root of (sum of all
// c * c + EPSILON), rounded down, at least 1. COUNT codes of IN and of OUT bits, two's complement, code 0 in the lowest bits. r has
// ROOT bits, and FACTOR OUT - 1: |c| is never more than r.
module row_normalize #(
  parameter COUNT = 4,
  parameter IN    = 4,
  parameter ROOT  = 8,
  parameter OUT   = 8,
  parameter [OUT-1:0] FACTOR = 64,
  parameter [31:0] EPSILON = 0
) (
  input  wire [COUNT*IN-1:0]  x,
  output wire [COUNT*OUT-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (COUNT < 1) begin : refuse_COUNT row_normalize_needs_COUNT_of_1_or_more stop (); end
    if (IN < 1 || IN > 16) begin : refuse_IN row_normalize_needs_IN_from_1_to_16 stop (); end
    if (ROOT < 1) begin : refuse_ROOT row_normalize_needs_ROOT_of_1_or_more stop (); end
    if (OUT < 2) begin : refuse_OUT row_normalize_needs_OUT_of_2_or_more stop (); end
  endgenerate
  localparam ROW  = COUNT > 0 ? COUNT : 1;  // at least 1, so that it is a guard that stops what is less
  localparam WIDE = 2 * ROOT + IN + 40;     // of sums: more than any of them needs
  localparam signed [WIDE-1:0] COUNTED = ROW;
  wire [ROOT-1:0] root;
  wire [ROOT-1:0] divisor;
  wire            unused_bits;
  genvar i;
  generate
    for (i = 0; i < ROW; i = i + 1) begin : code
      wire signed [WIDE-1:0] value;
      wire signed [WIDE-1:0] sum;      // of this code and those before
      wire signed [WIDE-1:0] distance;
      wire signed [WIDE-1:0] squares;  // of this distance and those before
      wire        [WIDE-1:0] size;
      wire [ROOT+OUT-1:0]    scaled;
      wire [OUT-2:0]         quotient;
      wire                   negative;
      wire                   unused_size;
      assign value       = {{(WIDE-IN){x[IN*i+IN-1]}}, x[IN*i +: IN]};
      assign distance    = COUNTED * value - code[ROW-1].sum;
      assign negative    = distance[WIDE-1];
      assign size        = negative ? -distance : distance;
      assign scaled      = {{OUT{1'b0}}, size[ROOT-1:0]} * {{ROOT{1'b0}}, FACTOR};
      assign unused_size = ^size;
      if (i == 0) begin : first
        assign sum     = value;
        assign squares = distance * distance + $signed({{(WIDE-32){1'b0}}, EPSILON});
      end else begin : further
        assign sum     = code[i-1].sum + value;
        assign squares = code[i-1].squares + distance * distance;
      end
      floor_divide #(.A_BITS(ROOT+OUT), .D_BITS(ROOT), .OUT(OUT-1)) divide (.a(scaled), .d(divisor), .y(quotient));
      assign y[OUT*i +: OUT] = negative ? -{1'b0, quotient} : {1'b0, quotient};
    end
  endgenerate
  floor_root #(.OUT(ROOT)) of_squares (.a(code[ROW-1].squares[2*ROOT-1:0]), .y(root));
  assign divisor     = root | {{(ROOT-1){1'b0}}, ~(|root)};
  assign unused_bits = ^code[ROW-1].squares;
endmodule

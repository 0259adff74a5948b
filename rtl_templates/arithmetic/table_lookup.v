// y = entry x of TABLE: OUT bits an entry, entry 0 in the lowest bits, entry x in TABLE[OUT*x +: OUT].
module table_lookup #(
  parameter IN    = 1,
  parameter OUT   = 1,
  parameter [(OUT << IN)-1:0] TABLE = 0
) (
  input  wire [IN-1:0]  x,
  output wire [OUT-1:0] y
);
  generate  // what the module is not made for stops elaboration
    if (IN < 1 || IN > 16) begin : refuse_IN table_lookup_needs_IN_from_1_to_16 stop (); end
    if (OUT < 1) begin : refuse_OUT table_lookup_needs_OUT_of_1_or_more stop (); end
  endgenerate
  localparam COUNT = IN > 0 ? IN : 1;  // at least 1, so that it is a guard that stops what is less
  genvar i;
  generate
    for (i = 0; i < COUNT; i = i + 1) begin : halving
      wire [(OUT << (IN - 1 - i))-1:0] kept;  // of the entries that are left, those that x[IN-1-i] picks
      if (i == 0) begin : whole
        assign kept = x[IN-1] ? TABLE[(OUT << IN)-1:OUT << (IN - 1)] : TABLE[(OUT << (IN - 1))-1:0];
      end else begin : half
        assign kept = x[IN-1-i] ? halving[i-1].kept[(OUT << (IN - i))-1:OUT << (IN - 1 - i)]
                                : halving[i-1].kept[(OUT << (IN - 1 - i))-1:0];
      end
    end
  endgenerate
  assign y = halving[COUNT-1].kept;
endmodule

// y = entry x of TABLE: OUT bits an entry, entry 0 in the lowest bits, entry x in TABLE[OUT*x +: OUT].
module table_lookup #(
  parameter IN    = 1,
  parameter OUT   = 1,
  parameter [(OUT << IN)-1:0] TABLE = 0
) (
  input  wire [IN-1:0]  x,
  output wire [OUT-1:0] y
);
  genvar i;
  generate
    for (i = 0; i < IN; i = i + 1) begin : halving
      wire [(OUT << (IN - 1 - i))-1:0] kept;  // of the entries that are left, those that x[IN-1-i] picks
      if (i == 0) begin : whole
        assign kept = x[IN-1] ? TABLE[(OUT << IN)-1:OUT << (IN - 1)] : TABLE[(OUT << (IN - 1))-1:0];
      end else begin : half
        assign kept = x[IN-1-i] ? halving[i-1].kept[(OUT << (IN - i))-1:OUT << (IN - 1 - i)]
                                : halving[i-1].kept[(OUT << (IN - 1 - i))-1:0];
      end
    end
  endgenerate
  assign y = halving[IN-1].kept;
endmodule

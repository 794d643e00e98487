// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// Weights that come quantized are repacked and not rounded again: what is checked are their bytes.

// Blocks of 16 in 4 bits, as com.microsoft has them: the numbers as they are. Two zero points share a byte there, and a channel begins
// a new one; 33 inputs are three blocks. Level 4 multiplies int8 activations with a scale for each block.
// CHECK-LABEL: func.func @main
// CHECK: edge.linear {{.*}} scales(%{{.*}} : tensor<2x3xf16>) zeros(%{{.*}} : tensor<2x3xi8>)
// CHECK-SAME: {quantization = #edge.quantization<bits = 4, group = 16, scale = f16, zeros = true, activations = group>} : tensor<2x33xf32>, tensor<2x3x8xi8> -> tensor<2x2xf32>
// CHECK: linalg.generic
// CHECK-DAG: w: "0x40000000000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20212223242526272829303132333435"
// CHECK-DAG: s: "0x40000000003C00400042004400450046"
// CHECK-DAG: z: "0x40000000010203040506"
func.func @main(%x: tensor<2x33xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %w = onnx.constant {name = "w", value = dense<[[[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15], [16, 17, 18, 19, 20, 21, 22, 23]],
      [[24, 25, 26, 27, 28, 29, 30, 31], [32, 33, 34, 35, 36, 37, 38, 39], [40, 41, 48, 49, 50, 51, 52, 53]]]> : tensor<2x3x8xui8>} : tensor<2x3x8xui8>
  %s = onnx.constant {name = "s", value = dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> : tensor<6xf16>} : tensor<6xf16>
  %z = onnx.constant {name = "z", value = dense<[0x21, 0x03, 0x54, 0x06]> : tensor<4xui8>} : tensor<4xui8>
  %b = onnx.constant {name = "b", value = dense<1.0> : tensor<2xf32>} : tensor<2xf32>
  %none = onnx.none : none
  %0 = onnx.node "MatMulNBits"(%x, %w, %s, %z, %none, %b) {name = "nbits", domain = "com.microsoft", version = 1 : i64,
      params = {K = 33 : i64, N = 2 : i64, bits = 4 : i64, block_size = 16 : i64, accuracy_level = 4 : i64}}
      : (tensor<2x33xf32>, tensor<2x3x8xui8>, tensor<6xf16>, tensor<4xui8>, none, tensor<2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// Eight bits, zero points in floating point, bf16 scales, which are the upper half of f32. No level: activations stay floats.
// CHECK-LABEL: func.func @main
// CHECK: edge.linear {{.*}} zeros(%{{.*}} : tensor<1x2xf32>) {quantization = #edge.quantization<bits = 8, group = 16, scale = f32, zeros = true>}
// CHECK-DAG: s: "0x40000000000080BF00000040"
// CHECK-DAG: z: "0x400000000000004300000143"
func.func @main(%x: tensor<1x32xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %w = onnx.constant {name = "w", value = dense<3> : tensor<1x2x16xui8>} : tensor<1x2x16xui8>
  %s = onnx.constant {name = "s", value = dense<[-1.0, 2.0]> : tensor<2xbf16>} : tensor<2xbf16>
  %z = onnx.constant {name = "z", value = dense<[128.0, 129.0]> : tensor<2xbf16>} : tensor<2xbf16>
  %0 = onnx.node "MatMulNBits"(%x, %w, %s, %z) {name = "nbits", domain = "com.microsoft", version = 1 : i64,
      params = {K = 32 : i64, N = 1 : i64, bits = 8 : i64, block_size = 16 : i64}}
      : (tensor<1x32xf32>, tensor<1x2x16xui8>, tensor<2xbf16>, tensor<2xbf16>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// Rows of a table of 24 numbers in blocks of 16: the file has no filling, edge.embedding has.
// CHECK-LABEL: func.func @main
// CHECK: edge.embedding {{.*}} {quantization = #edge.quantization<bits = 4, group = 16, scale = f32>} : tensor<3xi64>, tensor<2x2x8xi8> -> tensor<3x24xf32>
// CHECK-DAG: t: "0x40000000000102030405060708090A0B00000000101112131415161718191A1B00000000"
func.func @main(%ids: tensor<3xi64> {onnx.name = "ids"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %t = onnx.constant {name = "t", value = dense<[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27]]> : tensor<2x12xui8>} : tensor<2x12xui8>
  %s = onnx.constant {name = "s", value = dense<[[0.5, 0.25], [0.5, 0.125]]> : tensor<2x2xf32>} : tensor<2x2xf32>
  %0 = onnx.node "GatherBlockQuantized"(%t, %ids, %s) {name = "gather", domain = "com.microsoft", version = 1 : i64,
      params = {bits = 4 : i64, block_size = 16 : i64, gather_axis = 0 : i64, quantize_axis = 1 : i64}}
      : (tensor<2x12xui8>, tensor<3xi64>, tensor<2x2xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// A dequantized weight [k, n] of int8, one scale for all: the same for each channel. -2 and 7 are 126 and 135 from 128 on.
// CHECK-LABEL: func.func @main
// CHECK-NOT: linalg.generic
// CHECK: edge.linear {{.*}} scales(%{{.*}} : tensor<2x1xf32>) {quantization = #edge.quantization<bits = 8, group = 0, scale = f32>} : tensor<4x3xf32>, tensor<2x1x3xi8> -> tensor<4x2xf32>
// CHECK-NOT: linalg.generic
// CHECK-DAG: w.numbers: "0x400000007E808287817F"
// CHECK-DAG: w.scales: "0x400000000000003F0000003F"
func.func @main(%x: tensor<4x3xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %w = onnx.constant {name = "w", value = dense<[[-2, 7], [0, 1], [2, -1]]> : tensor<3x2xi8>} : tensor<3x2xi8>
  %s = onnx.constant {name = "s", value = dense<0.5> : tensor<f32>} : tensor<f32>
  %0 = onnx.node "DequantizeLinear"(%w, %s) {name = "floats", version = 21 : i64} : (tensor<3x2xi8>, tensor<f32>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%x, %0) {name = "product", version = 13 : i64} : (tensor<4x3xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

// -----

// A scale and a zero point for each output channel, of unsigned numbers, by a transposed Gemm; through a Transpose it is the same matrix.
// CHECK-LABEL: func.func @main
// CHECK: edge.linear {{.*}} zeros(%{{.*}} : tensor<2x1xi8>) {quantization = #edge.quantization<bits = 8, group = 0, scale = f16, zeros = true>}
// CHECK-DAG: w.numbers: "0x40000000010203040506"
// CHECK-DAG: w.scales: "0x40000000003C0040"
// CHECK-DAG: w.zeros: "0x400000007F81"
func.func @main(%x: tensor<4x3xf16> {onnx.name = "x"}) -> (tensor<*xf16> {onnx.name = "y"}) {
  %w = onnx.constant {name = "w", value = dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xui8>} : tensor<2x3xui8>
  %s = onnx.constant {name = "s", value = dense<[1.0, 2.0]> : tensor<2xf16>} : tensor<2xf16>
  %z = onnx.constant {name = "z", value = dense<[127, 129]> : tensor<2xui8>} : tensor<2xui8>
  %0 = onnx.node "DequantizeLinear"(%w, %s, %z) {name = "floats", version = 21 : i64, params = {axis = 0 : i64}}
      : (tensor<2x3xui8>, tensor<2xf16>, tensor<2xui8>) -> tensor<*xf16>
  %1 = onnx.node "Gemm"(%x, %0) {name = "product", version = 13 : i64, params = {transB = 1 : i64}} : (tensor<4x3xf16>, tensor<*xf16>) -> tensor<*xf16>
  return %1 : tensor<*xf16>
}

// -----

// Four bits, packed in the file, in blocks of 16 along the inputs of a MatMul: [32, 1] becomes [1, 2, 8]. Signed, so that 8 is added.
// CHECK-LABEL: func.func @main
// CHECK: edge.linear {{.*}} zeros(%{{.*}} : tensor<1x2xi8>) {quantization = #edge.quantization<bits = 4, group = 16, scale = f32, zeros = true>} : tensor<4x32xf32>, tensor<1x2x8xi8>
// CHECK-DAG: w.numbers: "0x4000000098BADCFE10325476FFFFFFFFFFFFFFFF"
// CHECK-DAG: w.scales: "0x400000000000803F00000040"
// CHECK-DAG: w.zeros: "0x400000000907"
func.func @main(%x: tensor<4x32xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %w = onnx.constant {name = "w", value = dense_resource<packed> : tensor<32x1xi4>} : tensor<32x1xi4>
  %s = onnx.constant {name = "s", value = dense<[[1.0], [2.0]]> : tensor<2x1xf32>} : tensor<2x1xf32>
  %z = onnx.constant {name = "z", value = dense<[[1], [-1]]> : tensor<2x1xi4>} : tensor<2x1xi4>
  %0 = onnx.node "DequantizeLinear"(%w, %s, %z) {name = "floats", version = 21 : i64, params = {axis = 0 : i64, block_size = 16 : i64}}
      : (tensor<32x1xi4>, tensor<2x1xf32>, tensor<2x1xi4>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%x, %0) {name = "product", version = 13 : i64} : (tensor<4x32xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

{-#
  dialect_resources: {
    builtin: {
      packed: "0x010000001032547698BADCFE7777777777777777"
    }
  }
#-}

// -----

// Rows of a dequantized table.
// CHECK-LABEL: func.func @main
// CHECK-NOT: linalg.generic
// CHECK: edge.embedding {{.*}} {quantization = #edge.quantization<bits = 8, group = 0, scale = f32>} : tensor<3xi64>, tensor<2x1x2xi8> -> tensor<3x2xf32>
func.func @main(%ids: tensor<3xi64> {onnx.name = "ids"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %w = onnx.constant {name = "w", value = dense<[[-2, 7], [0, 1]]> : tensor<2x2xi8>} : tensor<2x2xi8>
  %s = onnx.constant {name = "s", value = dense<[0.5, 0.25]> : tensor<2xf32>} : tensor<2xf32>
  %0 = onnx.node "DequantizeLinear"(%w, %s) {name = "floats", version = 21 : i64, params = {axis = 0 : i64}} : (tensor<2x2xi8>, tensor<2xf32>) -> tensor<*xf32>
  %1 = onnx.node "Gather"(%0, %ids) {name = "rows", version = 13 : i64} : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

// -----

// A scale for each input is none that edge.linear has: floats are computed. So they are for who reads them beside a layer, and four bits
// become bytes for it.
// CHECK-LABEL: func.func @main
// CHECK-DAG: edge.weight "w.bytes" {value = dense_resource<w.bytes> : tensor<4xi8>}
// CHECK-DAG: linalg.generic
// CHECK: return
// CHECK-DAG: w.bytes: "0x40000000FE070001"
func.func @main(%x: tensor<4x2xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "floats"}) {
  %w = onnx.constant {name = "w", value = dense<[[-2, 7], [0, 1]]> : tensor<2x2xi4>} : tensor<2x2xi4>
  %s = onnx.constant {name = "s", value = dense<[0.5, 0.25]> : tensor<2xf32>} : tensor<2xf32>
  %0 = onnx.node "DequantizeLinear"(%w, %s) {name = "floats", version = 21 : i64, params = {axis = 0 : i64}} : (tensor<2x2xi4>, tensor<2xf32>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%x, %0) {name = "product", version = 13 : i64} : (tensor<4x2xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %1, %0 : tensor<*xf32>, tensor<*xf32>
}

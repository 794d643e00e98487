// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// What nobody says has defaults, by the name: one batch, which is a number then, and prompts of up to 512 tokens.
// CHECK: #[[X:.*]] = affine_map<()[s0, s1] -> (1, s0, s1)>
// CHECK: edge.symbols = [#edge.symbol<"seq_len", 1, 512, free>, #edge.symbol<"width", 1, 1024, free>]
// CHECK: tensor<1x?x?xf32, #[[X]]>
func.func @main(%x: tensor<?x?x?xf32> {onnx.name = "x", onnx.dims = ["batch_size", "seq_len", "width"]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Relu"(%x) {name = "relu", version = 17 : i64} : (tensor<?x?x?xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// What is fixed is a number, and the others move up.
// CHECK: #[[X:.*]] = affine_map<()[s0] -> (s0, 7, 3)>
// CHECK: edge.symbols = [#edge.symbol<"batch", 1, 8, free>]
// CHECK: tensor<?x7x3xf32, #[[X]]>
module attributes {edge.bounds = {batch = array<i64: 1, 8>, sequence = array<i64: 7, 7>}} {
func.func @main(%x: tensor<?x?x3xf32> {onnx.name = "x", onnx.dims = ["batch", "sequence", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Relu"(%x) {name = "relu", version = 17 : i64} : (tensor<?x?x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
}

// -----

// A dimension without a name has its input's and its place.
// CHECK: edge.symbols = [#edge.symbol<"x.1", 1, 1024, free>]
func.func @main(%x: tensor<3x?xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Relu"(%x) {name = "relu", version = 17 : i64} : (tensor<3x?xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

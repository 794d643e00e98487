// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file --verify-diagnostics | FileCheck %s

// A patch embedding is a gather and a linear; its weight stays a constant that can be packed.
// CHECK-LABEL: func.func @main
// CHECK: linalg.generic
// CHECK: %[[W:.*]] = edge.weight "patches" {{.*}} : tensor<8x12xf32>
// CHECK: edge.linear %{{.*}}, %[[W]]
func.func @main(%x: tensor<1x3x4x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %w = onnx.constant {name = "patches", value = dense<1.0> : tensor<8x3x2x2xf32>} : tensor<8x3x2x2xf32>
  %y = onnx.node "Conv"(%x, %w) {name = "c", version = 17 : i64, params = {strides = array<i64: 2, 2>}} : (tensor<1x3x4x4xf32>, tensor<8x3x2x2xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// A depthwise convolution is a loop nest without conditions.
// CHECK-LABEL: func.func @main
// CHECK: edge.kernel "convolve"
// CHECK-NOT: scf.if
func.func @main(%x: tensor<1x4x8xf32> {onnx.name = "x"}, %w: tensor<4x1x3xf32> {onnx.name = "w"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %y = onnx.node "Conv"(%x, %w) {name = "c", version = 17 : i64, params = {group = 4 : i64, pads = array<i64: 1, 1>}} : (tensor<1x4x8xf32>, tensor<4x1x3xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Sizes are multiplied at compile time.
// CHECK-LABEL: func.func @main
// CHECK-SAME: -> (tensor<?x5xf32, #{{.*}}> {edge.element = "f32", edge.name = "y"})
// CHECK-NEXT: edge.reshape
func.func @main(%x: tensor<?x4x5xf32> {onnx.name = "x", onnx.dims = ["n", "", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %five = onnx.constant {name = "five", value = dense<5> : tensor<1xi64>} : tensor<1xi64>
  %s = onnx.node "Shape"(%x) {name = "s", version = 17 : i64, params = {end = 2 : i64}} : (tensor<?x4x5xf32>) -> tensor<*xi64>
  %p = onnx.node "ReduceProd"(%s) {name = "p", version = 17 : i64} : (tensor<*xi64>) -> tensor<*xi64>
  %t = onnx.node "Concat"(%p, %five) {name = "t", version = 17 : i64, params = {axis = 0 : i64}} : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %y = onnx.node "Reshape"(%x, %t) {name = "r", version = 17 : i64} : (tensor<?x4x5xf32>, tensor<*xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// What a constant condition selects has a known size.
// CHECK-LABEL: func.func @main
// CHECK-SAME: -> (tensor<2x2xf32> {edge.element = "f32", edge.name = "y"})
func.func @main(%x: tensor<3x2xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %c = onnx.constant {name = "c", value = dense<[true, false, true]> : tensor<3xi1>} : tensor<3xi1>
  %y = onnx.node "Compress"(%x, %c) {name = "s", version = 17 : i64, params = {axis = 0 : i64}} : (tensor<3x2xf32>, tensor<3xi1>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// expected-error @below {{k is computed at run time; give it as a constant, or export with a fixed k}}
module {
  func.func @main(%x: tensor<4x8xf32> {onnx.name = "x"}, %k: tensor<1xi64> {onnx.name = "k"}) -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xi64> {onnx.name = "i"}) {
    %y, %i = onnx.node "TopK"(%x, %k) {name = "t", version = 17 : i64} : (tensor<4x8xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
    return %y, %i : tensor<*xf32>, tensor<*xi64>
  }
}

// -----

// ONNX Runtime's optimizer writes the norms of later opsets into models of older ones.
// CHECK-LABEL: func.func @main
// CHECK: edge.layer_norm
func.func @main(%x: tensor<2x4xf32> {onnx.name = "x"}, %w: tensor<4xf32> {onnx.name = "w"}, %b: tensor<4xf32> {onnx.name = "b"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %y = onnx.node "LayerNormalization"(%x, %w, %b) {name = "norm", version = 11 : i64, params = {axis = -1 : i64, epsilon = 9.99999996E-13 : f32}} : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Leading sizes of 1 do not keep a scale from being a row.
// CHECK-LABEL: func.func @main
// CHECK: edge.layer_norm {{.*}}scale
// CHECK-NOT: linalg.generic
func.func @main(%x: tensor<2x3x4xf32> {onnx.name = "x"}, %w: tensor<1x1x4xf32> {onnx.name = "w"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %y = onnx.node "LayerNormalization"(%x, %w) {name = "norm", version = 17 : i64} : (tensor<2x3x4xf32>, tensor<1x1x4xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// A scale that differs between the rows is multiplied afterwards.
// CHECK-LABEL: func.func @main
// CHECK: edge.layer_norm
// CHECK: linalg.generic
// CHECK: arith.mulf
func.func @main(%x: tensor<2x3x4xf32> {onnx.name = "x"}, %w: tensor<3x4xf32> {onnx.name = "w"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %y = onnx.node "LayerNormalization"(%x, %w) {name = "norm", version = 17 : i64} : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

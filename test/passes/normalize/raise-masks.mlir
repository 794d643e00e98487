// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// The queries are the last of the keys, and a mask that the graph computes hides what comes later: causal, and no mask is left.
// CHECK-LABEL: func.func @main
// CHECK: edge.attention %{{[^ ]*}}, %{{[^ ]*}}, %{{[^ ]*}} {causal = true
// CHECK-NOT: window
// CHECK-NOT: linalg.generic
func.func @main(%x: tensor<?x1x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<i64>} : tensor<i64>
  %one = onnx.constant {name = "one", value = dense<1> : tensor<i64>} : tensor<i64>
  %column = onnx.constant {name = "column", value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %seen = onnx.constant {name = "seen", value = dense<0.0> : tensor<f32>} : tensor<f32>
  %hidden = onnx.constant {name = "hidden", value = dense<-3.40282347E+38> : tensor<f32>} : tensor<f32>
  %0 = onnx.node "Shape"(%x) {name = "size", version = 17 : i64, params = {start = 2 : i64, end = 3 : i64}} : (tensor<?x1x?x8xf32>) -> tensor<*xi64>
  %1 = onnx.node "Squeeze"(%0) {name = "n", version = 17 : i64} : (tensor<*xi64>) -> tensor<*xi64>
  %2 = onnx.node "Range"(%zero, %1, %one) {name = "positions", version = 17 : i64} : (tensor<i64>, tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %3 = onnx.node "Unsqueeze"(%2, %column) {name = "rows", version = 17 : i64} : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %4 = onnx.node "LessOrEqual"(%2, %3) {name = "visible", version = 17 : i64} : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi1>
  %5 = onnx.node "Where"(%4, %seen, %hidden) {name = "mask", version = 17 : i64} : (tensor<*xi1>, tensor<f32>, tensor<f32>) -> tensor<*xf32>
  %6 = onnx.node "Transpose"(%x) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<?x1x?x8xf32>) -> tensor<*xf32>
  %7 = onnx.node "MatMul"(%x, %6) {name = "qk", version = 17 : i64} : (tensor<?x1x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %8 = onnx.node "Add"(%7, %5) {name = "masked", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %9 = onnx.node "Softmax"(%8) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %10 = onnx.node "MatMul"(%9, %x) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<?x1x?x8xf32>) -> tensor<*xf32>
  return %10 : tensor<*xf32>
}

// -----

// A constant table with a band: a sliding window of three.
// CHECK-LABEL: func.func @main
// CHECK: edge.attention %{{[^ ]*}}, %{{[^ ]*}}, %{{[^ ]*}} {causal = true
// CHECK-SAME: window = 3
func.func @main(%x: tensor<1x1x5x8xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %band = onnx.constant {name = "band", value = dense<[[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1]]> : tensor<5x5xi1>} : tensor<5x5xi1>
  %hidden = onnx.constant {name = "hidden", value = dense<-1.0e4> : tensor<f32>} : tensor<f32>
  %0 = onnx.node "Transpose"(%x) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<1x1x5x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%x, %0) {name = "qk", version = 17 : i64} : (tensor<1x1x5x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Where"(%band, %1, %hidden) {name = "masked", version = 17 : i64} : (tensor<5x5xi1>, tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %3 = onnx.node "Softmax"(%2) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "MatMul"(%3, %x) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<1x1x5x8xf32>) -> tensor<*xf32>
  return %4 : tensor<*xf32>
}

// -----

// One point away from causal: the mask stays.
// CHECK-LABEL: func.func @main
// CHECK: edge.attention {{.*}} mask(
// CHECK-NOT: causal
func.func @main(%x: tensor<1x1x3x8xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %odd = onnx.constant {name = "odd", value = dense<[[1, 0, 1], [1, 1, 0], [1, 1, 1]]> : tensor<3x3xi1>} : tensor<3x3xi1>
  %hidden = onnx.constant {name = "hidden", value = dense<-1.0e4> : tensor<f32>} : tensor<f32>
  %0 = onnx.node "Transpose"(%x) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<1x1x3x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%x, %0) {name = "qk", version = 17 : i64} : (tensor<1x1x3x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Where"(%odd, %1, %hidden) {name = "masked", version = 17 : i64} : (tensor<3x3xi1>, tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %3 = onnx.node "Softmax"(%2) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "MatMul"(%3, %x) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<1x1x3x8xf32>) -> tensor<*xf32>
  return %4 : tensor<*xf32>
}

// -----

// Causal in the first and the last head, and in the middle one not: the mask stays.
// CHECK-LABEL: func.func @main
// CHECK: edge.attention {{.*}} mask(
// CHECK-NOT: causal
func.func @main(%x: tensor<1x3x2x8xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %heads = onnx.constant {name = "heads", value = dense<[[[1, 0], [1, 1]], [[1, 1], [1, 1]], [[1, 0], [1, 1]]]> : tensor<3x2x2xi1>} : tensor<3x2x2xi1>
  %hidden = onnx.constant {name = "hidden", value = dense<-1.0e4> : tensor<f32>} : tensor<f32>
  %0 = onnx.node "Transpose"(%x) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<1x3x2x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%x, %0) {name = "qk", version = 17 : i64} : (tensor<1x3x2x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Where"(%heads, %1, %hidden) {name = "masked", version = 17 : i64} : (tensor<3x2x2xi1>, tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %3 = onnx.node "Softmax"(%2) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "MatMul"(%3, %x) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<1x3x2x8xf32>) -> tensor<*xf32>
  return %4 : tensor<*xf32>
}

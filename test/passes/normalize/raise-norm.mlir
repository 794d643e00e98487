// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// x * (1 / sqrt(mean(x^2) + epsilon)) * w
// CHECK-LABEL: func.func @main
// CHECK: edge.rms_norm %{{.*}}, %{{.*}} : tensor<4xf32> {epsilon = 9.99999997E-7 : f32}
// CHECK-NEXT: return
func.func @main(%x: tensor<2x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %two = onnx.constant {name = "two", value = dense<2.0> : tensor<f32>} : tensor<f32>
  %epsilon = onnx.constant {name = "epsilon", value = dense<1.0e-6> : tensor<f32>} : tensor<f32>
  %w = onnx.constant {name = "w", value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : tensor<4xf32>
  %0 = onnx.node "Pow"(%x, %two) {name = "squares", version = 17 : i64} : (tensor<2x4xf32>, tensor<f32>) -> tensor<*xf32>
  %1 = onnx.node "ReduceMean"(%0) {name = "mean", version = 17 : i64, params = {axes = array<i64: -1>, keepdims = 1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Add"(%1, %epsilon) {name = "sum", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %3 = onnx.node "Sqrt"(%2) {name = "root", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "Reciprocal"(%3) {name = "factor", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "Mul"(%x, %4) {name = "normal", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "Mul"(%w, %5) {name = "scaled", version = 17 : i64} : (tensor<4xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %6 : tensor<*xf32>
}

// -----

// (x - mean) / sqrt(variance + epsilon) * w + b
// CHECK-LABEL: func.func @main
// CHECK: edge.layer_norm %{{.*}} scale(%{{.*}} : tensor<4xf32>) bias(%{{.*}} : tensor<4xf32>) {epsilon = 9.99999974E-6 : f32}
// CHECK-NEXT: return
func.func @main(%x: tensor<2x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %two = onnx.constant {name = "two", value = dense<2.0> : tensor<f32>} : tensor<f32>
  %epsilon = onnx.constant {name = "epsilon", value = dense<1.0e-5> : tensor<f32>} : tensor<f32>
  %w = onnx.constant {name = "w", value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : tensor<4xf32>
  %b = onnx.constant {name = "b", value = dense<[4.0, 3.0, 2.0, 1.0]> : tensor<4xf32>} : tensor<4xf32>
  %0 = onnx.node "ReduceMean"(%x) {name = "mean", version = 17 : i64, params = {axes = array<i64: -1>, keepdims = 1 : i64}} : (tensor<2x4xf32>) -> tensor<*xf32>
  %1 = onnx.node "Sub"(%x, %0) {name = "centered", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Pow"(%1, %two) {name = "squares", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %3 = onnx.node "ReduceMean"(%2) {name = "variance", version = 17 : i64, params = {axes = array<i64: -1>, keepdims = 1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "Add"(%3, %epsilon) {name = "sum", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %5 = onnx.node "Sqrt"(%4) {name = "root", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "Div"(%1, %5) {name = "normal", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Mul"(%6, %w) {name = "scaled", version = 17 : i64} : (tensor<*xf32>, tensor<4xf32>) -> tensor<*xf32>
  %8 = onnx.node "Add"(%7, %b) {name = "shifted", version = 17 : i64} : (tensor<*xf32>, tensor<4xf32>) -> tensor<*xf32>
  return %8 : tensor<*xf32>
}

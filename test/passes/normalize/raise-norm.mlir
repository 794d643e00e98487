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

// -----

// TensorFlow folds scale and bias: x * m + (b - mean * m) with m = w / sqrt(variance + epsilon).
// CHECK-LABEL: func.func @main
// CHECK: edge.layer_norm %arg0 scale(%{{.*}} : tensor<4xf32>) bias(%{{.*}} : tensor<4xf32>) {epsilon = 9.99999996E-13 : f32}
// CHECK-NEXT: return
func.func @main(%x: tensor<2x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %epsilon = onnx.constant {name = "epsilon", value = dense<1.0e-12> : tensor<f32>} : tensor<f32>
  %w = onnx.constant {name = "w", value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : tensor<4xf32>
  %b = onnx.constant {name = "b", value = dense<[4.0, 3.0, 2.0, 1.0]> : tensor<4xf32>} : tensor<4xf32>
  %0 = onnx.node "ReduceMean"(%x) {name = "mean", version = 17 : i64, params = {axes = array<i64: -1>}} : (tensor<2x4xf32>) -> tensor<*xf32>
  %1 = onnx.node "Sub"(%x, %0) {name = "difference", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Mul"(%1, %1) {name = "squares", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "ReduceMean"(%2) {name = "variance", version = 17 : i64, params = {axes = array<i64: -1>}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "Add"(%3, %epsilon) {name = "sum", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %5 = onnx.node "Sqrt"(%4) {name = "root", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "Reciprocal"(%5) {name = "factor", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Mul"(%6, %w) {name = "m", version = 17 : i64} : (tensor<*xf32>, tensor<4xf32>) -> tensor<*xf32>
  %8 = onnx.node "Mul"(%x, %7) {name = "scaled", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %9 = onnx.node "Mul"(%0, %7) {name = "shift", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %10 = onnx.node "Sub"(%b, %9) {name = "rest", version = 17 : i64} : (tensor<4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %11 = onnx.node "Add"(%8, %10) {name = "normal", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %11 : tensor<*xf32>
}

// -----

// Folded, but x and its mean have got different scales: no norm.
// CHECK-LABEL: func.func @main
// CHECK-NOT: edge.layer_norm
func.func @main(%x: tensor<2x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %epsilon = onnx.constant {name = "epsilon", value = dense<1.0e-12> : tensor<f32>} : tensor<f32>
  %w = onnx.constant {name = "w", value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : tensor<4xf32>
  %b = onnx.constant {name = "b", value = dense<[4.0, 3.0, 2.0, 1.0]> : tensor<4xf32>} : tensor<4xf32>
  %0 = onnx.node "ReduceMean"(%x) {name = "mean", version = 17 : i64, params = {axes = array<i64: -1>}} : (tensor<2x4xf32>) -> tensor<*xf32>
  %1 = onnx.node "Sub"(%x, %0) {name = "difference", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Mul"(%1, %1) {name = "squares", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "ReduceMean"(%2) {name = "variance", version = 17 : i64, params = {axes = array<i64: -1>}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "Add"(%3, %epsilon) {name = "sum", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %5 = onnx.node "Sqrt"(%4) {name = "root", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "Reciprocal"(%5) {name = "factor", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Mul"(%6, %w) {name = "m", version = 17 : i64} : (tensor<*xf32>, tensor<4xf32>) -> tensor<*xf32>
  %8 = onnx.node "Mul"(%6, %b) {name = "n", version = 17 : i64} : (tensor<*xf32>, tensor<4xf32>) -> tensor<*xf32>
  %9 = onnx.node "Mul"(%x, %7) {name = "scaled", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %10 = onnx.node "Mul"(%0, %8) {name = "shift", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %11 = onnx.node "Sub"(%b, %10) {name = "rest", version = 17 : i64} : (tensor<4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %12 = onnx.node "Add"(%9, %11) {name = "normal", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %12 : tensor<*xf32>
}

// -----

// Means as sums over a size, the variance as mean(x^2) - mean(x)^2 kept from being negative, the scale in front: as JAX writes it.
// CHECK-LABEL: func.func @main
// CHECK: edge.layer_norm %arg0 scale(%{{.*}} : tensor<4xf32>) bias(%{{.*}} : tensor<4xf32>) {epsilon = 9.99999997E-7 : f32}
// CHECK-NEXT: return
func.func @main(%x: tensor<2x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %axis = onnx.constant {name = "axis", value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %zero = onnx.constant {name = "zero", value = dense<0.0> : tensor<f32>} : tensor<f32>
  %size = onnx.constant {name = "size", value = dense<4.0> : tensor<f32>} : tensor<f32>
  %epsilon = onnx.constant {name = "epsilon", value = dense<1.0e-6> : tensor<f32>} : tensor<f32>
  %power = onnx.constant {name = "power", value = dense<-0.5> : tensor<f32>} : tensor<f32>
  %w = onnx.constant {name = "w", value = dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>} : tensor<1x4xf32>
  %b = onnx.constant {name = "b", value = dense<[4.0, 3.0, 2.0, 1.0]> : tensor<4xf32>} : tensor<4xf32>
  %0 = onnx.node "ReduceSum"(%x, %axis) {name = "sum", version = 13 : i64} : (tensor<2x4xf32>, tensor<1xi64>) -> tensor<*xf32>
  %1 = onnx.node "Div"(%0, %size) {name = "mean", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %2 = onnx.node "Mul"(%x, %x) {name = "squares", version = 17 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<*xf32>
  %3 = onnx.node "ReduceMean"(%2) {name = "square", version = 17 : i64, params = {axes = array<i64: -1>}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "Mul"(%1, %1) {name = "squared_mean", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "Sub"(%3, %4) {name = "variance", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "Max"(%zero, %5) {name = "positive", version = 13 : i64} : (tensor<f32>, tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Add"(%6, %epsilon) {name = "with_epsilon", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %8 = onnx.node "Pow"(%7, %power) {name = "factor", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %9 = onnx.node "Mul"(%8, %w) {name = "m", version = 17 : i64} : (tensor<*xf32>, tensor<1x4xf32>) -> tensor<*xf32>
  %10 = onnx.node "Sub"(%x, %1) {name = "difference", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %11 = onnx.node "Mul"(%10, %9) {name = "scaled", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %12 = onnx.node "Add"(%11, %b) {name = "normal", version = 17 : i64} : (tensor<*xf32>, tensor<4xf32>) -> tensor<*xf32>
  return %12 : tensor<*xf32>
}

// -----

// A sum divided by something else than the size is no mean.
// CHECK-LABEL: func.func @main
// CHECK-NOT: edge.rms_norm
func.func @main(%x: tensor<2x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %axis = onnx.constant {name = "axis", value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %size = onnx.constant {name = "size", value = dense<3.0> : tensor<f32>} : tensor<f32>
  %epsilon = onnx.constant {name = "epsilon", value = dense<1.0e-6> : tensor<f32>} : tensor<f32>
  %0 = onnx.node "Mul"(%x, %x) {name = "squares", version = 17 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<*xf32>
  %1 = onnx.node "ReduceSum"(%0, %axis) {name = "sum", version = 13 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %2 = onnx.node "Div"(%1, %size) {name = "estimate", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %3 = onnx.node "Add"(%2, %epsilon) {name = "with_epsilon", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %4 = onnx.node "Sqrt"(%3) {name = "root", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "Div"(%x, %4) {name = "normal", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %5 : tensor<*xf32>
}

// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// x * cos + rotate_half(x) * sin; the tables' halves are equal because both are made of the same angles. One half is kept.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[X:[^:]*]]: tensor<1x3x2x4xf32>
// CHECK: %[[R:.*]] = edge.rope %[[X]], %{{.*}}, %{{.*}} : tensor<1x3x2x4xf32>, tensor<1x3x2xf32> -> tensor<1x3x2x4xf32>
func.func @main(%x: tensor<1x3x2x4xf32> {onnx.name = "x"}, %angles: tensor<1x3x2xf32> {onnx.name = "angles"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %one = onnx.constant {name = "one", value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %half = onnx.constant {name = "half", value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %end = onnx.constant {name = "end", value = dense<9223372036854775807> : tensor<1xi64>} : tensor<1xi64>
  %last = onnx.constant {name = "last", value = dense<3> : tensor<1xi64>} : tensor<1xi64>
  %0 = onnx.node "Transpose"(%x) {name = "heads", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<1x3x2x4xf32>) -> tensor<*xf32>
  %1 = onnx.node "Concat"(%angles, %angles) {name = "twice", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<*xf32>
  %2 = onnx.node "Cos"(%1) {name = "cos", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "Sin"(%1) {name = "sin", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "Unsqueeze"(%2, %one) {name = "cos4", version = 17 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %5 = onnx.node "Unsqueeze"(%3, %one) {name = "sin4", version = 17 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %6 = onnx.node "Slice"(%0, %zero, %half, %last, %one) {name = "low", version = 17 : i64} : (tensor<*xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %7 = onnx.node "Slice"(%0, %half, %end, %last, %one) {name = "high", version = 17 : i64} : (tensor<*xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %8 = onnx.node "Neg"(%7) {name = "minus", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %9 = onnx.node "Concat"(%8, %6) {name = "turned", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %10 = onnx.node "Mul"(%0, %4) {name = "a", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %11 = onnx.node "Mul"(%9, %5) {name = "b", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %12 = onnx.node "Add"(%10, %11) {name = "rope", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %12 : tensor<*xf32>
}

// -----

// Tables whose halves may differ: nothing is raised.
// CHECK-LABEL: func.func @main
// CHECK-NOT: edge.rope
func.func @main(%x: tensor<1x2x3x4xf32> {onnx.name = "x"}, %cos: tensor<1x1x3x4xf32> {onnx.name = "cos"}, %sin: tensor<1x1x3x4xf32> {onnx.name = "sin"})
    -> (tensor<*xf32> {onnx.name = "y"}) {
  %0:2 = onnx.node "Split"(%x) {name = "halves", version = 11 : i64, params = {axis = 3 : i64, split = array<i64: 2, 2>}} : (tensor<1x2x3x4xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  %1 = onnx.node "Neg"(%0#1) {name = "minus", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Concat"(%1, %0#0) {name = "turned", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "Mul"(%x, %cos) {name = "a", version = 17 : i64} : (tensor<1x2x3x4xf32>, tensor<1x1x3x4xf32>) -> tensor<*xf32>
  %4 = onnx.node "Mul"(%2, %sin) {name = "b", version = 17 : i64} : (tensor<*xf32>, tensor<1x1x3x4xf32>) -> tensor<*xf32>
  %5 = onnx.node "Add"(%3, %4) {name = "rope", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %5 : tensor<*xf32>
}

// -----

// Halves rotated apart, and only the first four of six elements: the rest passes.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[X:[^:]*]]: tensor<1x2x3x6xf32>
// CHECK: edge.rope %[[X]], %{{.*}}, %{{.*}} {heads_first} : tensor<1x2x3x6xf32>, tensor<1x3x2xf32> -> tensor<1x2x3x6xf32>
// CHECK-NEXT: return
func.func @main(%x: tensor<1x2x3x6xf32> {onnx.name = "x"}, %cos: tensor<3x2xf32> {onnx.name = "cos"}, %sin: tensor<3x2xf32> {onnx.name = "sin"})
    -> (tensor<*xf32> {onnx.name = "y"}) {
  %parts:2 = onnx.node "Split"(%x) {name = "parts", version = 11 : i64, params = {axis = 3 : i64, split = array<i64: 4, 2>}} : (tensor<1x2x3x6xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  %h:2 = onnx.node "Split"(%parts#0) {name = "halves", version = 11 : i64, params = {axis = 3 : i64, split = array<i64: 2, 2>}} : (tensor<*xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  %0 = onnx.node "Mul"(%h#0, %cos) {name = "lc", version = 17 : i64} : (tensor<*xf32>, tensor<3x2xf32>) -> tensor<*xf32>
  %1 = onnx.node "Mul"(%h#1, %sin) {name = "hs", version = 17 : i64} : (tensor<*xf32>, tensor<3x2xf32>) -> tensor<*xf32>
  %2 = onnx.node "Mul"(%h#1, %cos) {name = "hc", version = 17 : i64} : (tensor<*xf32>, tensor<3x2xf32>) -> tensor<*xf32>
  %3 = onnx.node "Mul"(%h#0, %sin) {name = "ls", version = 17 : i64} : (tensor<*xf32>, tensor<3x2xf32>) -> tensor<*xf32>
  %4 = onnx.node "Sub"(%0, %1) {name = "real", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "Add"(%2, %3) {name = "imaginary", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "Concat"(%4, %5) {name = "rotated", version = 17 : i64, params = {axis = 3 : i64}} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Concat"(%6, %parts#1) {name = "whole", version = 17 : i64, params = {axis = 3 : i64}} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %7 : tensor<*xf32>
}

// -----

// Neighbours as pairs: sliced with a step of 2, stacked in a dimension of their own; each angle stands twice in the tables.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[X:[^:]*]]: tensor<1x3x2x4xf32>
// CHECK: edge.rope %[[X]], %{{.*}}, %{{.*}} {interleaved} : tensor<1x3x2x4xf32>, tensor<1x3x2xf32> -> tensor<1x3x2x4xf32>
// CHECK-NEXT: return
func.func @main(%x: tensor<1x3x2x4xf32> {onnx.name = "x"}, %angles: tensor<1x3x1x2xf32> {onnx.name = "angles"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %one = onnx.constant {name = "one", value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %two = onnx.constant {name = "two", value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %end = onnx.constant {name = "end", value = dense<9223372036854775807> : tensor<1xi64>} : tensor<1xi64>
  %last = onnx.constant {name = "last", value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %twice = onnx.constant {name = "twice", value = dense<[1, 1, 1, 1, 2]> : tensor<5xi64>} : tensor<5xi64>
  %table = onnx.constant {name = "table", value = dense<[1, 3, 1, 4]> : tensor<4xi64>} : tensor<4xi64>
  %shape = onnx.constant {name = "shape", value = dense<[0, 0, 2, -1]> : tensor<4xi64>} : tensor<4xi64>
  %0 = onnx.node "Cos"(%angles) {name = "cos", version = 17 : i64} : (tensor<1x3x1x2xf32>) -> tensor<*xf32>
  %1 = onnx.node "Sin"(%angles) {name = "sin", version = 17 : i64} : (tensor<1x3x1x2xf32>) -> tensor<*xf32>
  %2 = onnx.node "Unsqueeze"(%0, %last) {name = "cos5", version = 17 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %3 = onnx.node "Unsqueeze"(%1, %last) {name = "sin5", version = 17 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %4 = onnx.node "Expand"(%2, %twice) {name = "coss", version = 17 : i64} : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %5 = onnx.node "Tile"(%3, %twice) {name = "sins", version = 17 : i64} : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %6 = onnx.node "Reshape"(%4, %table) {name = "cos4", version = 17 : i64} : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  %7 = onnx.node "Reshape"(%5, %table) {name = "sin4", version = 17 : i64} : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  %8 = onnx.node "Slice"(%x, %zero, %end, %last, %two) {name = "even", version = 17 : i64} : (tensor<1x3x2x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %9 = onnx.node "Slice"(%x, %one, %end, %last, %two) {name = "odd", version = 17 : i64} : (tensor<1x3x2x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %10 = onnx.node "Neg"(%9) {name = "minus", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %11 = onnx.node "Unsqueeze"(%10, %last) {name = "left", version = 17 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %12 = onnx.node "Unsqueeze"(%8, %last) {name = "right", version = 17 : i64} : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
  %13 = onnx.node "Concat"(%11, %12) {name = "stack", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %14 = onnx.node "Reshape"(%13, %shape) {name = "turned", version = 17 : i64} : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  %15 = onnx.node "Mul"(%6, %x) {name = "a", version = 17 : i64} : (tensor<*xf32>, tensor<1x3x2x4xf32>) -> tensor<*xf32>
  %16 = onnx.node "Mul"(%14, %7) {name = "b", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %17 = onnx.node "Add"(%16, %15) {name = "rope", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %17 : tensor<*xf32>
}

// -----

// A complex product: real and imaginary parts lie in a last dimension of 2, and keep it as one of 1.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[X:[^:]*]]: tensor<1x3x2x4xf32>
// CHECK: edge.rope %[[X]], %{{.*}}, %{{.*}} {interleaved} : tensor<1x3x2x4xf32>, tensor<1x3x2xf32> -> tensor<1x3x2x4xf32>
// CHECK-NEXT: return
func.func @main(%x: tensor<1x3x2x4xf32> {onnx.name = "x"}, %cos: tensor<1x3x1x2x1xf32> {onnx.name = "cos"}, %sin: tensor<1x3x1x2x1xf32> {onnx.name = "sin"})
    -> (tensor<*xf32> {onnx.name = "y"}) {
  %pairs = onnx.constant {name = "pairs", value = dense<[1, 3, 2, -1, 2]> : tensor<5xi64>} : tensor<5xi64>
  %shape = onnx.constant {name = "shape", value = dense<[1, 3, 2, 4]> : tensor<4xi64>} : tensor<4xi64>
  %0 = onnx.node "Reshape"(%x, %pairs) {name = "complex", version = 17 : i64} : (tensor<1x3x2x4xf32>, tensor<5xi64>) -> tensor<*xf32>
  %p:2 = onnx.node "Split"(%0) {name = "parts", version = 11 : i64, params = {axis = -1 : i64, split = array<i64: 1, 1>}} : (tensor<*xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  %1 = onnx.node "Mul"(%p#0, %cos) {name = "rc", version = 17 : i64} : (tensor<*xf32>, tensor<1x3x1x2x1xf32>) -> tensor<*xf32>
  %2 = onnx.node "Mul"(%p#1, %sin) {name = "is", version = 17 : i64} : (tensor<*xf32>, tensor<1x3x1x2x1xf32>) -> tensor<*xf32>
  %3 = onnx.node "Mul"(%p#0, %sin) {name = "rs", version = 17 : i64} : (tensor<*xf32>, tensor<1x3x1x2x1xf32>) -> tensor<*xf32>
  %4 = onnx.node "Mul"(%p#1, %cos) {name = "ic", version = 17 : i64} : (tensor<*xf32>, tensor<1x3x1x2x1xf32>) -> tensor<*xf32>
  %5 = onnx.node "Sub"(%1, %2) {name = "real", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "Add"(%3, %4) {name = "imaginary", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Concat"(%5, %6) {name = "product", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %8 = onnx.node "Reshape"(%7, %shape) {name = "real", version = 17 : i64} : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  return %8 : tensor<*xf32>
}

// -----

// Halves of the table that come from one place by different functions are not equal.
// CHECK-LABEL: func.func @main
// CHECK-NOT: edge.rope
func.func @main(%x: tensor<1x2x3x4xf32> {onnx.name = "x"}, %angles: tensor<1x1x3x2xf32> {onnx.name = "angles"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %c = onnx.node "Cos"(%angles) {name = "cos", version = 17 : i64} : (tensor<1x1x3x2xf32>) -> tensor<*xf32>
  %s = onnx.node "Sin"(%angles) {name = "sin", version = 17 : i64} : (tensor<1x1x3x2xf32>) -> tensor<*xf32>
  %t = onnx.node "Concat"(%c, %s) {name = "table", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %0:2 = onnx.node "Split"(%x) {name = "halves", version = 11 : i64, params = {axis = 3 : i64, split = array<i64: 2, 2>}} : (tensor<1x2x3x4xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  %1 = onnx.node "Neg"(%0#1) {name = "minus", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Concat"(%1, %0#0) {name = "turned", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "Mul"(%x, %t) {name = "a", version = 17 : i64} : (tensor<1x2x3x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "Mul"(%2, %t) {name = "b", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "Add"(%3, %4) {name = "rope", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %5 : tensor<*xf32>
}

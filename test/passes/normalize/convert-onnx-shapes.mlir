// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// The chain that torch writes for x.view(batch, sequence, heads, -1): shapes, gathers and concatenations are gone.
// CHECK: #[[SPLIT:.*]] = affine_map<()[s0, s1] -> (s0, s1, 4, 8)>
// CHECK: edge.symbols = [#edge.symbol<"batch", 1, 1024, free>
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x32xf32
// CHECK-NEXT: %[[R:.*]] = edge.reshape %[[X]] : {{.*}} -> tensor<?x?x4x8xf32, #[[SPLIT]]>
// CHECK-NEXT: return %[[R]]
module attributes {edge.bounds = {batch = array<i64: 1, 1024>}} {
func.func @main(%x: tensor<?x?x32xf32> {onnx.name = "x", onnx.dims = ["batch", "sequence", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %first = onnx.constant {name = "first", value = dense<0> : tensor<i64>} : tensor<i64>
  %second = onnx.constant {name = "second", value = dense<1> : tensor<i64>} : tensor<i64>
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %tail = onnx.constant {name = "tail", value = dense<[4, -1]> : tensor<2xi64>} : tensor<2xi64>
  %0 = onnx.node "Shape"(%x) {name = "shape", version = 17 : i64} : (tensor<?x?x32xf32>) -> tensor<*xi64>
  %1 = onnx.node "Gather"(%0, %first) {name = "batch", version = 17 : i64, params = {axis = 0 : i64}} : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %2 = onnx.node "Gather"(%0, %second) {name = "sequence", version = 17 : i64, params = {axis = 0 : i64}} : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %3 = onnx.node "Unsqueeze"(%1, %zero) {name = "batch1", version = 17 : i64} : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %4 = onnx.node "Unsqueeze"(%2, %zero) {name = "sequence1", version = 17 : i64} : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %5 = onnx.node "Concat"(%3, %4, %tail) {name = "wanted", version = 17 : i64, params = {axis = 0 : i64}} : (tensor<*xi64>, tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %6 = onnx.node "Reshape"(%x, %5) {name = "view", version = 17 : i64} : (tensor<?x?x32xf32>, tensor<*xi64>) -> tensor<*xf32>
  return %6 : tensor<*xf32>
}
}

// -----

// Sizes are polynomials: batch * heads * sequence * 8 divided by heads * sequence * 2, whatever the order they were written in.
// CHECK: #[[R:.*]] = affine_map<()[s0, s1, s2] -> (s1 * s2, s0 * 4, 2)>
// CHECK-LABEL: func.func @main
// CHECK: edge.reshape %{{.*}} -> tensor<?x?x2xf32, #[[R]]>
module attributes {edge.bounds = {batch = array<i64: 1, 2>, heads = array<i64: 1, 2>}} {
func.func @main(%x: tensor<?x?x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "heads", "sequence", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %two = onnx.constant {name = "two", value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %open = onnx.constant {name = "open", value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %0 = onnx.node "Shape"(%x) {name = "heads", version = 17 : i64, params = {start = 1 : i64, end = 2 : i64}} : (tensor<?x?x?x8xf32>) -> tensor<*xi64>
  %1 = onnx.node "Shape"(%x) {name = "sequence", version = 17 : i64, params = {start = 2 : i64, end = 3 : i64}} : (tensor<?x?x?x8xf32>) -> tensor<*xi64>
  %2 = onnx.node "Mul"(%1, %0) {name = "rows", version = 17 : i64} : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %3 = onnx.node "Concat"(%2, %open, %two) {name = "wanted", version = 17 : i64, params = {axis = 0 : i64}} : (tensor<*xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xi64>
  %4 = onnx.node "Reshape"(%x, %3) {name = "view", version = 17 : i64} : (tensor<?x?x?x8xf32>, tensor<*xi64>) -> tensor<*xf32>
  return %4 : tensor<*xf32>
}
}

// -----

// Positions are computed from indices, not from a tensor of sizes.
// CHECK: #[[N:.*]] = affine_map<()[s0] -> (s0)>
// CHECK-LABEL: func.func @main
// CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<?xi64, #[[N]]>)
// CHECK: linalg.index 0
func.func @main(%x: tensor<?x8xf32> {onnx.name = "x", onnx.dims = ["sequence", ""]}) -> (tensor<*xi64> {onnx.name = "positions"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<i64>} : tensor<i64>
  %one = onnx.constant {name = "one", value = dense<1> : tensor<i64>} : tensor<i64>
  %0 = onnx.node "Shape"(%x) {name = "shape", version = 17 : i64} : (tensor<?x8xf32>) -> tensor<*xi64>
  %1 = onnx.node "Gather"(%0, %zero) {name = "n", version = 17 : i64} : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %2 = onnx.node "Range"(%zero, %1, %one) {name = "range", version = 17 : i64} : (tensor<i64>, tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  return %2 : tensor<*xi64>
}

// -----

// A slice whose end is another input's size has that size.
// CHECK: #[[S:.*]] = affine_map<()[s0] -> (s0, 8)>
// CHECK-LABEL: func.func @main
// CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<?x8xf32, #[[S]]>)
func.func @main(%x: tensor<?xf32> {onnx.name = "x", onnx.dims = ["sequence"]}, %table: tensor<512x8xf32> {onnx.name = "table"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %0 = onnx.node "Shape"(%x) {name = "shape", version = 17 : i64} : (tensor<?xf32>) -> tensor<*xi64>
  %1 = onnx.node "Slice"(%table, %zero, %0, %zero) {name = "slice", version = 17 : i64} : (tensor<512x8xf32>, tensor<1xi64>, tensor<*xi64>, tensor<1xi64>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

// -----

// To the end, as exporters write it.
// CHECK: #[[S:.*]] = affine_map<()[s0] -> (s0 - 1, 8)>
// CHECK-LABEL: func.func @main
// CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<?x8xf32, #[[S]]>)
module attributes {edge.bounds = {sequence = array<i64: 2, 16>}} {
func.func @main(%x: tensor<?x8xf32> {onnx.name = "x", onnx.dims = ["sequence", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %one = onnx.constant {name = "one", value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %end = onnx.constant {name = "end", value = dense<9223372036854775807> : tensor<1xi64>} : tensor<1xi64>
  %0 = onnx.node "Slice"(%x, %one, %end, %zero) {name = "slice", version = 17 : i64} : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
}

// -----

// torch writes expand(-1, 4) as where(sizes == -1, ones, sizes): the comparison is decided here.
// CHECK: #[[W:.*]] = affine_map<()[s0] -> (s0, 4)>
// CHECK-LABEL: func.func @main
// CHECK-NOT: arith.cmpi
// CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<?x4xf32, #[[W]]>)
// CHECK-NOT: arith.cmpi
func.func @main(%x: tensor<?x1xf32> {onnx.name = "x", onnx.dims = ["sequence", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %length = onnx.constant {name = "length", value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %minus = onnx.constant {name = "minus", value = dense<-1> : tensor<i64>} : tensor<i64>
  %four = onnx.constant {name = "four", value = dense<4> : tensor<1xi64>} : tensor<1xi64>
  %0 = onnx.node "Shape"(%x) {name = "sequence", version = 17 : i64, params = {end = 1 : i64}} : (tensor<?x1xf32>) -> tensor<*xi64>
  %1 = onnx.node "Concat"(%0, %four) {name = "wanted", version = 17 : i64, params = {axis = 0 : i64}} : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %2 = onnx.node "ConstantOfShape"(%length) {name = "ones", version = 17 : i64, params = {value = dense<1> : tensor<1xi64>}} : (tensor<1xi64>) -> tensor<*xi64>
  %3 = onnx.node "Mul"(%2, %minus) {name = "minus_ones", version = 17 : i64} : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %4 = onnx.node "Equal"(%1, %3) {name = "open", version = 17 : i64} : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi1>
  %5 = onnx.node "Where"(%4, %2, %1) {name = "sizes", version = 17 : i64} : (tensor<*xi1>, tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %6 = onnx.node "Expand"(%x, %5) {name = "expand", version = 17 : i64} : (tensor<?x1xf32>, tensor<*xi64>) -> tensor<*xf32>
  return %6 : tensor<*xf32>
}

// -----

// A size that data needs is computed where it is read: no constant tensor, one element.
// CHECK-LABEL: func.func @main
// CHECK: linalg.generic
// CHECK: edge.dim 0
// CHECK: arith.divf
func.func @main(%x: tensor<?x8xf32> {onnx.name = "x", onnx.dims = ["sequence", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Shape"(%x) {name = "shape", version = 17 : i64, params = {end = 1 : i64}} : (tensor<?x8xf32>) -> tensor<*xi64>
  %1 = onnx.node "Cast"(%0) {name = "float", version = 17 : i64, params = {to = f32}} : (tensor<*xi64>) -> tensor<*xf32>
  %2 = onnx.node "Div"(%x, %1) {name = "mean", version = 17 : i64} : (tensor<?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %2 : tensor<*xf32>
}

// -----

// An expression in a dimension's name is one: half of `width`, and not a symbol of its own.
// CHECK: #[[H:.*]] = affine_map<()[s0] -> (s0 floordiv 2)>
// CHECK: edge.symbols = [#edge.symbol<"width", 2, 64, free>]
// CHECK-LABEL: func.func @main
// CHECK-SAME: tensor<?xf32, #[[H]]>
module attributes {edge.bounds = {width = array<i64: 2, 64>}} {
func.func @main(%x: tensor<?xf32> {onnx.name = "x", onnx.dims = ["width"]}, %y: tensor<?xf32> {onnx.name = "y", onnx.dims = ["width//2"]}) -> (tensor<*xf32> {onnx.name = "z"}) {
  %0 = onnx.node "Relu"(%y) {name = "relu", version = 17 : i64} : (tensor<?xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
}

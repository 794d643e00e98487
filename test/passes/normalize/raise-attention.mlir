// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// Projections are read where they lie: transposes and reshapes between them and the attention cost nothing.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[Q:[^:]*]]: tensor<2x6x4x8xf32> {{[^%]*}}%[[K:[^:]*]]: tensor<2x6x4x8xf32> {{[^%]*}}%[[V:[^:]*]]: tensor<2x6x4x8xf32>
// CHECK: %[[A:.*]] = edge.attention %[[Q]], %[[K]], %[[V]] {length =
// CHECK-NOT: heads_first
// CHECK: edge.reshape %[[A]] : tensor<2x6x4x8xf32> -> tensor<2x6x32xf32>
// CHECK-NOT: linalg.generic
func.func @main(%q: tensor<2x6x4x8xf32> {onnx.name = "q"}, %k: tensor<2x6x4x8xf32> {onnx.name = "k"}, %v: tensor<2x6x4x8xf32> {onnx.name = "v"})
    -> (tensor<*xf32> {onnx.name = "y"}) {
  %scale = onnx.constant {name = "scale", value = dense<0.25> : tensor<f32>} : tensor<f32>
  %shape = onnx.constant {name = "shape", value = dense<[2, 6, 32]> : tensor<3xi64>} : tensor<3xi64>
  %0 = onnx.node "Transpose"(%q) {name = "q_t", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<2x6x4x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "Transpose"(%k) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 2, 3, 1>}} : (tensor<2x6x4x8xf32>) -> tensor<*xf32>
  %2 = onnx.node "Transpose"(%v) {name = "v_t", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<2x6x4x8xf32>) -> tensor<*xf32>
  %3 = onnx.node "MatMul"(%0, %1) {name = "qk", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "Mul"(%3, %scale) {name = "scaled", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %5 = onnx.node "Softmax"(%4) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "MatMul"(%5, %2) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Transpose"(%6) {name = "o_t", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<*xf32>) -> tensor<*xf32>
  %8 = onnx.node "Reshape"(%7, %shape) {name = "joined", version = 17 : i64} : (tensor<*xf32>, tensor<3xi64>) -> tensor<*xf32>
  return %8 : tensor<*xf32>
}

// -----

// Heads repeated for the product are read once. Scale on both operands, soft cap, and a float mask.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[Q:[^:]*]]: tensor<1x4x5x8xf32> {{[^%]*}}%[[K:[^:]*]]: tensor<1x2x7x8xf32> {{[^%]*}}%[[V:[^:]*]]: tensor<1x2x7x8xf32> {{[^%]*}}%[[M:[^:]*]]: tensor<1x1x5x7xf32>
// CHECK: edge.attention %[[Q]], %[[K]], %[[V]] mask(%[[M]] : tensor<1x1x5x7xf32>)
// CHECK-SAME: key_heads_first
// CHECK-SAME: query_heads_first
// CHECK-SAME: scale = 2.500000e-01 : f32, softcap = 3.000000e+01 : f32
func.func @main(%q: tensor<1x4x5x8xf32> {onnx.name = "q"}, %k: tensor<1x2x7x8xf32> {onnx.name = "k"}, %v: tensor<1x2x7x8xf32> {onnx.name = "v"},
                %m: tensor<1x1x5x7xf32> {onnx.name = "m"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %half = onnx.constant {name = "half", value = dense<0.5> : tensor<f32>} : tensor<f32>
  %cap = onnx.constant {name = "cap", value = dense<30.0> : tensor<f32>} : tensor<f32>
  %two = onnx.constant {name = "two", value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %wide = onnx.constant {name = "wide", value = dense<[1, 2, 2, 7, 8]> : tensor<5xi64>} : tensor<5xi64>
  %flat = onnx.constant {name = "flat", value = dense<[1, 4, 7, 8]> : tensor<4xi64>} : tensor<4xi64>
  %0 = onnx.node "Unsqueeze"(%k, %two) {name = "k5", version = 17 : i64} : (tensor<1x2x7x8xf32>, tensor<1xi64>) -> tensor<*xf32>
  %1 = onnx.node "Expand"(%0, %wide) {name = "k_wide", version = 17 : i64} : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %2 = onnx.node "Reshape"(%1, %flat) {name = "k_all", version = 17 : i64} : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  %3 = onnx.node "Unsqueeze"(%v, %two) {name = "v5", version = 17 : i64} : (tensor<1x2x7x8xf32>, tensor<1xi64>) -> tensor<*xf32>
  %4 = onnx.node "Expand"(%3, %wide) {name = "v_wide", version = 17 : i64} : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %5 = onnx.node "Reshape"(%4, %flat) {name = "v_all", version = 17 : i64} : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  %6 = onnx.node "Transpose"(%2) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Mul"(%q, %half) {name = "q_scaled", version = 17 : i64} : (tensor<1x4x5x8xf32>, tensor<f32>) -> tensor<*xf32>
  %8 = onnx.node "Mul"(%6, %half) {name = "k_scaled", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %9 = onnx.node "MatMul"(%7, %8) {name = "qk", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %10 = onnx.node "Div"(%9, %cap) {name = "small", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %11 = onnx.node "Tanh"(%10) {name = "tanh", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %12 = onnx.node "Mul"(%11, %cap) {name = "capped", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %13 = onnx.node "Add"(%12, %m) {name = "masked", version = 17 : i64} : (tensor<*xf32>, tensor<1x1x5x7xf32>) -> tensor<*xf32>
  %14 = onnx.node "Softmax"(%13) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %15 = onnx.node "MatMul"(%14, %5) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %15 : tensor<*xf32>
}

// -----

// A cache: the rows are appended in place, and the attention reads the buffer.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[Q:[^:]*]]: tensor<1x?x2x8xf32
// CHECK-SAME: %[[PK:[^:]*]]: tensor<1x2x?x8xf32
// CHECK-SAME: %[[PV:[^:]*]]: tensor<1x2x?x8xf32
// CHECK-DAG: %[[K:.*]] = edge.append %[[PK]], %[[Q]] at
// CHECK-DAG: %[[V:.*]] = edge.append %[[PV]], %[[Q]] at
// CHECK: edge.attention %[[Q]], %[[K]], %[[V]] {key_heads_first, length =
func.func @main(%q: tensor<?x?x2x8xf32> {onnx.name = "input_ids", onnx.dims = ["batch", "sequence", "", ""]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %pv: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "present.0.key"}, tensor<*xf32> {onnx.name = "present.0.value"}) {
  %0 = onnx.node "Transpose"(%q) {name = "q_t", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<?x?x2x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "Concat"(%pk, %0) {name = "k_all", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Concat"(%pv, %0) {name = "v_all", version = 17 : i64, params = {axis = -2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "Transpose"(%1) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "MatMul"(%0, %3) {name = "qk", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "Softmax"(%4) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "MatMul"(%5, %2) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %6, %1, %2 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// So are heads that Concat repeats: a tensor joined with itself in a dimension of its own, and slices of single heads.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[Q:[^:]*]]: tensor<1x4x5x8xf32> {{[^%]*}}%[[K:[^:]*]]: tensor<1x2x7x8xf32> {{[^%]*}}%[[V:[^:]*]]: tensor<1x2x7x8xf32>
// CHECK-NEXT: %[[A:.*]] = edge.attention %[[Q]], %[[K]], %[[V]] {key_heads_first
// CHECK-NEXT: return %[[A]]
func.func @main(%q: tensor<1x4x5x8xf32> {onnx.name = "q"}, %k: tensor<1x2x7x8xf32> {onnx.name = "k"}, %v: tensor<1x2x7x8xf32> {onnx.name = "v"})
    -> (tensor<*xf32> {onnx.name = "y"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %one = onnx.constant {name = "one", value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %two = onnx.constant {name = "two", value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %flat = onnx.constant {name = "flat", value = dense<[1, 4, 7, 8]> : tensor<4xi64>} : tensor<4xi64>
  %0 = onnx.node "Unsqueeze"(%k, %two) {name = "k5", version = 17 : i64} : (tensor<1x2x7x8xf32>, tensor<1xi64>) -> tensor<*xf32>
  %1 = onnx.node "Unsqueeze"(%k, %two) {name = "k5_again", version = 17 : i64} : (tensor<1x2x7x8xf32>, tensor<1xi64>) -> tensor<*xf32>
  %2 = onnx.node "Concat"(%0, %1) {name = "k_wide", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "Reshape"(%2, %flat) {name = "k_all", version = 17 : i64} : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  %4 = onnx.node "Slice"(%v, %zero, %one, %one) {name = "v0", version = 17 : i64} : (tensor<1x2x7x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %5 = onnx.node "Slice"(%v, %one, %two, %one) {name = "v1", version = 17 : i64} : (tensor<1x2x7x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %6 = onnx.node "Concat"(%4, %4, %5, %5) {name = "v_all", version = 17 : i64, params = {axis = 1 : i64}} : (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Transpose"(%3) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<*xf32>) -> tensor<*xf32>
  %8 = onnx.node "MatMul"(%q, %7) {name = "qk", version = 17 : i64} : (tensor<1x4x5x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %9 = onnx.node "Softmax"(%8) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %10 = onnx.node "MatMul"(%9, %6) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %10 : tensor<*xf32>
}

// -----

// Slices of a Split are the same; in another order they are no grouped heads: the values are joined, and have a head for each query.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[Q:[^:]*]]: tensor<1x4x5x8xf32> {{[^%]*}}%[[K:[^:]*]]: tensor<1x2x7x8xf32>
// CHECK: %[[JOINED:.*]] = edge.kernel "concat"
// CHECK: %[[V:.*]] = edge.reshape %[[JOINED]]
// CHECK: edge.attention %[[Q]], %[[K]], %[[K]]
// CHECK: edge.attention %[[Q]], %[[V]], %[[V]]
func.func @main(%q: tensor<1x4x5x8xf32> {onnx.name = "q"}, %k: tensor<1x2x7x8xf32> {onnx.name = "k"})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "z"}) {
  %0:2 = onnx.node "Split"(%k) {name = "heads", version = 17 : i64, params = {axis = 1 : i64}} : (tensor<1x2x7x8xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  %1 = onnx.node "Concat"(%0#0, %0#0, %0#1, %0#1) {name = "grouped", version = 17 : i64, params = {axis = 1 : i64}} : (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Concat"(%0#0, %0#1, %0#0, %0#1) {name = "alternating", version = 17 : i64, params = {axis = 1 : i64}} : (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "Transpose"(%1) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "MatMul"(%q, %3) {name = "qk", version = 17 : i64} : (tensor<1x4x5x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "Softmax"(%4) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "MatMul"(%5, %1) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Transpose"(%2) {name = "k2_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<*xf32>) -> tensor<*xf32>
  %8 = onnx.node "MatMul"(%q, %7) {name = "qk2", version = 17 : i64} : (tensor<1x4x5x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %9 = onnx.node "Softmax"(%8) {name = "softmax2", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %10 = onnx.node "MatMul"(%9, %2) {name = "pv2", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %6, %10 : tensor<*xf32>, tensor<*xf32>
}

// -----

// A mask for each window, added where the scores are seen as [batch, windows, heads, queries, keys]: it is spread over the batch, and
// shared by the heads.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[M:[^:]*]]: tensor<1x3x1x4x4xf32>
// CHECK: %[[ALL:.*]] = linalg.generic {{.*}} ins(%[[M]] : tensor<1x3x1x4x4xf32>) outs(%{{.*}} : tensor<2x3x1x4x4xf32>)
// CHECK: %[[MASK:.*]] = edge.reshape %[[ALL]] : tensor<2x3x1x4x4xf32> -> tensor<6x1x4x4xf32>
// CHECK: edge.attention {{.*}} mask(%[[MASK]] : tensor<6x1x4x4xf32>)
func.func @main(%q: tensor<6x2x4x8xf32> {onnx.name = "q"}, %m: tensor<1x3x1x4x4xf32> {onnx.name = "m"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %five = onnx.constant {name = "five", value = dense<[2, 3, 2, 4, 4]> : tensor<5xi64>} : tensor<5xi64>
  %four = onnx.constant {name = "four", value = dense<[6, 2, 4, 4]> : tensor<4xi64>} : tensor<4xi64>
  %0 = onnx.node "Transpose"(%q) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<6x2x4x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%q, %0) {name = "qk", version = 17 : i64} : (tensor<6x2x4x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Reshape"(%1, %five) {name = "windows", version = 17 : i64} : (tensor<*xf32>, tensor<5xi64>) -> tensor<*xf32>
  %3 = onnx.node "Add"(%2, %m) {name = "masked", version = 17 : i64} : (tensor<*xf32>, tensor<1x3x1x4x4xf32>) -> tensor<*xf32>
  %4 = onnx.node "Reshape"(%3, %four) {name = "joined", version = 17 : i64} : (tensor<*xf32>, tensor<4xi64>) -> tensor<*xf32>
  %5 = onnx.node "Softmax"(%4) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "MatMul"(%5, %q) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<6x2x4x8xf32>) -> tensor<*xf32>
  return %6 : tensor<*xf32>
}

// -----

// A mask that makes more matrices of the scores than there were: the product is of one head, the attention would be of three.
// CHECK-LABEL: func.func @main
// CHECK-NOT: edge.attention
// CHECK: edge.softmax
func.func @main(%q: tensor<1x1x4x8xf32> {onnx.name = "q"}, %m: tensor<1x3x4x4xf32> {onnx.name = "m"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Transpose"(%q) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<1x1x4x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%q, %0) {name = "qk", version = 17 : i64} : (tensor<1x1x4x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Add"(%1, %m) {name = "masked", version = 17 : i64} : (tensor<*xf32>, tensor<1x3x4x4xf32>) -> tensor<*xf32>
  %3 = onnx.node "Softmax"(%2) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "MatMul"(%3, %q) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<1x1x4x8xf32>) -> tensor<*xf32>
  return %4 : tensor<*xf32>
}

// -----

// A cast to integers and back is no cast that an attention may skip.
// CHECK-LABEL: func.func @main
// CHECK-NOT: edge.attention
func.func @main(%q: tensor<1x2x4x8xf32> {onnx.name = "q"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Transpose"(%q) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<1x2x4x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%q, %0) {name = "qk", version = 17 : i64} : (tensor<1x2x4x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Cast"(%1) {name = "whole", version = 17 : i64, params = {to = i64}} : (tensor<*xf32>) -> tensor<*xi64>
  %3 = onnx.node "Cast"(%2) {name = "back", version = 17 : i64, params = {to = f32}} : (tensor<*xi64>) -> tensor<*xf32>
  %4 = onnx.node "Softmax"(%3) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "MatMul"(%4, %q) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<1x2x4x8xf32>) -> tensor<*xf32>
  return %5 : tensor<*xf32>
}

// -----

// Only a guard that turns NaN to 0 is one.
// CHECK-LABEL: func.func @main
// CHECK-NOT: edge.attention
func.func @main(%q: tensor<1x2x4x8xf32> {onnx.name = "q"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %one = onnx.constant {name = "one", value = dense<1.0> : tensor<f32>} : tensor<f32>
  %0 = onnx.node "Transpose"(%q) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<1x2x4x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%q, %0) {name = "qk", version = 17 : i64} : (tensor<1x2x4x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Softmax"(%1) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "IsNaN"(%2) {name = "nan", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xi1>
  %4 = onnx.node "Where"(%3, %one, %2) {name = "guard", version = 17 : i64} : (tensor<*xi1>, tensor<f32>, tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "MatMul"(%4, %q) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<1x2x4x8xf32>) -> tensor<*xf32>
  return %5 : tensor<*xf32>
}

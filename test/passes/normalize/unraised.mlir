// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file --verify-diagnostics -o /dev/null

// A cache is [batch, heads, positions, dim]: with tokens before heads it stays an input and an output.
func.func @main(%x: tensor<1x?x2x8xf32> {onnx.name = "x", onnx.dims = ["", "sequence", "", ""]}, %k: tensor<1x?x2x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["", "past", "", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  // expected-remark @below {{keys (Concat): the cache past_key_values.0.key stays an input and an output: its dimension 1 grows; a cache is [batch, heads, positions, dim], and its dimension 2 grows}}
  %0 = onnx.node "Concat"(%k, %x) {name = "keys", version = 17 : i64, params = {axis = 1 : i64}} : (tensor<1x?x2x8xf32>, tensor<1x?x2x8xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// Pairs are told by their names. What grows and comes back under others is only looked at.
func.func @main(%x: tensor<1x2x?x8xf32> {onnx.name = "x", onnx.dims = ["", "", "sequence", ""]}, %k: tensor<1x2x?x8xf32> {onnx.name = "key_cache_0", onnx.dims = ["", "", "held", ""]},
                %other: tensor<1x2x8x8xf32> {onnx.name = "other"})
    -> (tensor<*xf32> {onnx.name = "key_cache_0_out"}, tensor<*xf32> {onnx.name = "joined"}) {
  // expected-remark @below {{keys (Concat): the cache key_cache_0 stays an input and an output: pairs are told by their names, past_key_values.0.key and present.0.key; rename it and key_cache_0_out}}
  %0 = onnx.node "Concat"(%k, %x) {name = "keys", version = 17 : i64, params = {axis = -2 : i64}} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "Concat"(%other, %x) {name = "no_cache", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<1x2x8x8xf32>, tensor<1x2x?x8xf32>) -> tensor<*xf32>
  return %0, %1 : tensor<*xf32>, tensor<*xf32>
}

// -----

// Caches that are no states for what is done to them: handed on as they are, and changed.
func.func @main(%x: tensor<1x?xi64> {onnx.name = "input_ids", onnx.dims = ["", "sequence"]},
                %k: tensor<1x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["", "", "past", ""]},
                %v: tensor<1x2x?x8xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}, tensor<*xf32> {onnx.name = "present.0.value"}) {
  // expected-remark @below {{relu (Relu): the cache past_key_values.0.key stays an input and an output: present.0.key is not the past with the rows of this call behind it}}
  %0 = onnx.node "Relu"(%k) {name = "relu", version = 17 : i64} : (tensor<1x2x?x8xf32>) -> tensor<*xf32>
  // expected-remark @below {{scaled (Mul): the cache past_key_values.0.value stays an input and an output: present.0.value is not the past}}
  %1 = onnx.node "Mul"(%v, %v) {name = "scaled", version = 17 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<*xf32>
  return %0, %1 : tensor<*xf32>, tensor<*xf32>
}

// -----

// expected-remark @below {{the cache past_key_values.0.key stays an input and an output: present.0.key is the past as it was}}
func.func @main(%x: tensor<1x?xi64> {onnx.name = "input_ids", onnx.dims = ["", "sequence"]},
                %k: tensor<1x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["", "", "past", ""]}) -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %0 = onnx.node "Identity"(%k) {name = "same", version = 17 : i64} : (tensor<1x2x?x8xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// Norms: the epsilon outside of the root, and a mean over another dimension. Nothing is said of the one that is raised.
func.func @main(%x: tensor<2x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "z"}, tensor<*xf32> {onnx.name = "w"}) {
  %two = onnx.constant {name = "two", value = dense<2.0> : tensor<f32>} : tensor<f32>
  %epsilon = onnx.constant {name = "epsilon", value = dense<1.0e-6> : tensor<f32>} : tensor<f32>
  %0 = onnx.node "Pow"(%x, %two) {name = "squares", version = 17 : i64} : (tensor<2x4xf32>, tensor<f32>) -> tensor<*xf32>
  %1 = onnx.node "ReduceMean"(%0) {name = "mean", version = 17 : i64, params = {axes = array<i64: -1>}} : (tensor<*xf32>) -> tensor<*xf32>
  // expected-remark @below {{root (Sqrt): a norm that stays elementwise: no epsilon is added inside of its root}}
  %2 = onnx.node "Sqrt"(%1) {name = "root", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "Add"(%2, %epsilon) {name = "sum", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %4 = onnx.node "Div"(%x, %3) {name = "y", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "ReduceMean"(%0) {name = "mean0", version = 17 : i64, params = {axes = array<i64: 0>}} : (tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "Add"(%5, %epsilon) {name = "sum0", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  // expected-remark @below {{root0 (Sqrt): a norm that stays elementwise: its mean is not over the last dimension alone}}
  %7 = onnx.node "Sqrt"(%6) {name = "root0", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %8 = onnx.node "Div"(%x, %7) {name = "z", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %9 = onnx.node "Add"(%1, %epsilon) {name = "sum1", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %10 = onnx.node "Sqrt"(%9) {name = "root1", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %11 = onnx.node "Div"(%x, %10) {name = "w", version = 17 : i64} : (tensor<2x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %4, %8, %11 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// Rotary embeddings: pairs swapped by a matrix product, from angles; and what has no heads yet, by tables that begin with the angle 0.
func.func @main(%x: tensor<1x2x3x4xf32> {onnx.name = "x"}, %angle: tensor<3x4xf32> {onnx.name = "angle"}, %turn: tensor<4x4xf32> {onnx.name = "turn"},
                %x3: tensor<1x2x4xf32> {onnx.name = "x3"}, %t3: tensor<1x2x4xf32> {onnx.name = "t3"})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "z"}, tensor<*xf32> {onnx.name = "embedding"}) {
  %0 = onnx.node "Cos"(%angle) {name = "cos", version = 17 : i64} : (tensor<3x4xf32>) -> tensor<*xf32>
  %1 = onnx.node "Sin"(%angle) {name = "sin", version = 17 : i64} : (tensor<3x4xf32>) -> tensor<*xf32>
  %2 = onnx.node "MatMul"(%x, %turn) {name = "swapped", version = 17 : i64} : (tensor<1x2x3x4xf32>, tensor<4x4xf32>) -> tensor<*xf32>
  %3 = onnx.node "Mul"(%x, %0) {name = "x_cos", version = 17 : i64} : (tensor<1x2x3x4xf32>, tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "Mul"(%2, %1) {name = "turned_sin", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  // expected-remark @below {{rotated (Add): a rotary embedding that stays elementwise: swapped swaps the elements of its pairs by a matrix product; slice, split or stack them}}
  %5 = onnx.node "Add"(%3, %4) {name = "rotated", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %cos = onnx.constant {name = "cos", value = dense<[[1.0, 1.0, 1.0, 1.0], [0.5, 0.9, 0.5, 0.9]]> : tensor<2x4xf32>} : tensor<2x4xf32>
  %sin = onnx.constant {name = "sin", value = dense<[[0.0, 0.0, 0.0, 0.0], [0.8, 0.4, 0.8, 0.4]]> : tensor<2x4xf32>} : tensor<2x4xf32>
  %6 = onnx.node "Mul"(%x3, %cos) {name = "x3_cos", version = 17 : i64} : (tensor<1x2x4xf32>, tensor<2x4xf32>) -> tensor<*xf32>
  %7 = onnx.node "Mul"(%sin, %t3) {name = "t3_sin", version = 17 : i64} : (tensor<2x4xf32>, tensor<1x2x4xf32>) -> tensor<*xf32>
  // expected-remark @below {{rotated3 (Add): a rotary embedding that stays elementwise: what it turns has 3 dimensions, not 4}}
  %8 = onnx.node "Add"(%6, %7) {name = "rotated3", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  // Added to the input, they are no rotation.
  %9 = onnx.node "Add"(%0, %1) {name = "embedding", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %5, %8, %9 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

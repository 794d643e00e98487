// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file --verify-diagnostics | FileCheck %s

// Caches of one size, into which rows are written behind what they hold: states too. Attention reads them where they lie, as far as
// they are filled. Where to write and how much is filled are no inputs any more.
// CHECK-DAG: #[[CACHE:.*]] = affine_map<()[s0, s1, s2] -> (1, 2, s2, 8)>
// CHECK-DAG: #[[PAST:.*]] = affine_map<()[s0, s1] -> (s1)>
// CHECK-DAG: #[[FILLED:.*]] = affine_map<()[s0, s1] -> (s0 + s1)>
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 64, free>, #edge.symbol<"past", 0, 64, position>, #edge.symbol<"context", 64, 64, capacity>]
// CHECK-LABEL: func.func @main
// CHECK-NOT: edge.name = "write_indices"
// CHECK-NOT: edge.name = "count"
// CHECK-SAME: %[[PAST_K:[^:]*]]: tensor<1x2x?x8xf32, #[[CACHE]]> {edge.element = "f32", edge.name = "past_key_values.0.key", edge.state = 0 : i64}
// CHECK-SAME: %[[PAST_V:[^:]*]]: tensor<1x2x?x8xf32, #[[CACHE]]> {edge.element = "f32", edge.name = "past_key_values.0.value", edge.state = 1 : i64}
// CHECK: %[[K:.*]] = edge.append %[[PAST_K]], %{{.*}} at #[[PAST]] {rows_heads_first}
// CHECK: %[[V:.*]] = edge.append %[[PAST_V]], %{{.*}} at #[[PAST]] {rows_heads_first}
// CHECK-NOT: edge.kernel
// CHECK: edge.attention %{{.*}}, %[[K]], %[[V]] {causal = true, key_heads_first, length = #[[FILLED]], offset = #[[PAST]], query_heads_first,
// CHECK: return %{{.*}}, %[[K]], %[[V]]
func.func @main(%q: tensor<?x4x?x8xf32> {onnx.name = "q", onnx.dims = ["batch", "", "sequence", ""]},
                %kv: tensor<?x2x?x8xf32> {onnx.name = "kv", onnx.dims = ["batch", "", "sequence", ""]},
                %ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "sequence"]},
                %at: tensor<?xi64> {onnx.name = "write_indices", onnx.dims = ["batch"]},
                %count: tensor<?xi64> {onnx.name = "count", onnx.dims = ["batch"]},
                %pk: tensor<?x2x64x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "", ""]},
                %pv: tensor<?x2x64x8xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "", ""]})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "present.0.key"}, tensor<*xf32> {onnx.name = "present.0.value"}) {
  %none = onnx.none : none
  %k = onnx.node "TensorScatter"(%pk, %kv, %at) {name = "keys", version = 24 : i64} : (tensor<?x2x64x8xf32>, tensor<?x2x?x8xf32>, tensor<?xi64>) -> tensor<*xf32>
  %v = onnx.node "TensorScatter"(%pv, %kv, %at) {name = "values", version = 24 : i64, params = {mode = "linear"}} : (tensor<?x2x64x8xf32>, tensor<?x2x?x8xf32>, tensor<?xi64>) -> tensor<*xf32>
  %y = onnx.node "Attention"(%q, %k, %v, %none, %none, %none, %count) {name = "attention", version = 24 : i64, params = {is_causal = 1 : i64}} : (tensor<?x4x?x8xf32>, tensor<*xf32>, tensor<*xf32>, none, none, none, tensor<?xi64>) -> tensor<*xf32>
  return %y, %k, %v : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// Caches that cannot be kept in a session stay inputs and outputs, and a remark says why: the model runs as it is.

// CHECK-LABEL: func.func @main
// CHECK-SAME: edge.name = "past_key_values.0.key"}
// CHECK: edge.kernel "tensor_scatter"
func.func @main(%x: tensor<?x2x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]},
                %at: tensor<?xi64> {onnx.name = "write_indices", onnx.dims = ["batch"]},
                %past: tensor<?x2x64x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  // expected-remark @below {{ring (TensorScatter): the cache past_key_values.0.key stays an input and an output: mode circular overwrites what it holds}}
  %k = onnx.node "TensorScatter"(%past, %x, %at) {name = "ring", version = 24 : i64, params = {mode = "circular"}} : (tensor<?x2x64x8xf32>, tensor<?x2x?x8xf32>, tensor<?xi64>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}

// -----

// CHECK-LABEL: func.func @main
// CHECK: edge.kernel "tensor_scatter"
func.func @main(%x: tensor<?x?x16xf32> {onnx.name = "x", onnx.dims = ["batch", "sequence", ""]},
                %at: tensor<?xi64> {onnx.name = "write_indices", onnx.dims = ["batch"]},
                %past: tensor<?x64x16xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  // expected-remark @below {{it is not [batch, heads, positions, dim], written along the positions}}
  %k = onnx.node "TensorScatter"(%past, %x, %at) {name = "flat", version = 24 : i64} : (tensor<?x64x16xf32>, tensor<?x?x16xf32>, tensor<?xi64>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}

// -----

// CHECK-LABEL: func.func @main
// CHECK: edge.kernel "tensor_scatter"
func.func @main(%x: tensor<?x2x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]},
                %past: tensor<?x2x64x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  // expected-remark @below {{without write_indices each call begins anew}}
  %k = onnx.node "TensorScatter"(%past, %x) {name = "first", version = 24 : i64} : (tensor<?x2x64x8xf32>, tensor<?x2x?x8xf32>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}

// -----

// CHECK-LABEL: func.func @main
// CHECK: edge.kernel "tensor_scatter"
func.func @main(%x: tensor<?x2x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]},
                %at: tensor<?xi64> {onnx.name = "write_indices", onnx.dims = ["batch"]},
                %past: tensor<?x2x64x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %next = onnx.node "Add"(%at, %at) {name = "twice", version = 14 : i64} : (tensor<?xi64>, tensor<?xi64>) -> tensor<*xi64>
  // expected-remark @below {{write_indices are computed; make them an input of the graph}}
  %k = onnx.node "TensorScatter"(%past, %x, %next) {name = "computed", version = 24 : i64} : (tensor<?x2x64x8xf32>, tensor<?x2x?x8xf32>, tensor<*xi64>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}

// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// Pairs of past and present become states behind the other arguments: room for the context, one memory for argument and result.
// CHECK-DAG: #[[ROWS:.*]] = affine_map<()[s0] -> (1, s0, 2, 8)>
// CHECK-DAG: #[[CACHE:.*]] = affine_map<()[s0, s1, s2] -> (1, 2, s2, 8)>
// CHECK-DAG: #[[TOKENS:.*]] = affine_map<()[s0] -> (s0)>
// CHECK-DAG: #[[PAST:.*]] = affine_map<()[s0, s1] -> (s1)>
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 512, free>, #edge.symbol<"past", 0, 4096, position>, #edge.symbol<"context", 1, 4096, capacity>]
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:[^:]*]]: tensor<1x?x2x8xf32, #[[ROWS]]> {edge.element = "f32", edge.name = "inputs_embeds"},
// CHECK-SAME: %[[PAST_K:[^:]*]]: tensor<1x2x?x8xf32, #[[CACHE]]> {edge.element = "f32", edge.name = "past_key_values.0.key", edge.state = 0 : i64}
// CHECK-SAME: %[[PAST_V:[^:]*]]: tensor<1x2x?x8xf32, #[[CACHE]]> {edge.element = "f32", edge.name = "past_key_values.0.value", edge.state = 1 : i64}
// CHECK-SAME: {edge.state = 0 : i64}
// CHECK-SAME: {edge.state = 1 : i64}
// CHECK-SAME: attributes {edge.advance = #[[TOKENS]]}
// CHECK: %[[K:.*]] = edge.append %[[PAST_K]], %[[X]] at #[[PAST]]
// CHECK: %[[V:.*]] = edge.append %[[PAST_V]], %[[X]] at #[[PAST]]
// CHECK: return %{{.*}}, %[[K]], %[[V]]
func.func @main(%x: tensor<?x?x2x8xf32> {onnx.name = "inputs_embeds", onnx.dims = ["batch", "sequence", "", ""]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %pv: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "present.0.key"}, tensor<*xf32> {onnx.name = "present.0.value"}) {
  %t = onnx.node "Transpose"(%x) {name = "turned", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<?x?x2x8xf32>) -> tensor<*xf32>
  %k = onnx.node "Concat"(%pk, %t) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %v = onnx.node "Concat"(%pv, %t) {name = "values", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %t, %k, %v : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// What a session knows by itself is no input any more: of one sequence nothing is masked, and positions count on from what is held.
// `total` is past + sequence, not a symbol of its own.
// CHECK: #[[TOTAL:.*]] = affine_map<()[s0, s1] -> (1, s0 + s1)>
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 512, free>, #edge.symbol<"past", 0, 4096, position>, #edge.symbol<"context", 1, 4096, capacity>]
// CHECK-LABEL: func.func @main
// CHECK-NOT: attention_mask
// CHECK-NOT: position_ids
// CHECK: ) -> (tensor<1x?xi64, #[[TOTAL]]> {edge.element = "i64", edge.name = "mask"}
// CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<1x?xi64, #[[TOTAL]]>)
// CHECK: arith.constant 1 : i64
// CHECK: linalg.generic
// CHECK: %[[I:.*]] = linalg.index 1
// CHECK: %[[PAST:.*]] = edge.dim 1
// CHECK: arith.addi %[[I]], %[[PAST]]
func.func @main(%x: tensor<?x?x2x8xf32> {onnx.name = "inputs_embeds", onnx.dims = ["batch", "sequence", "", ""]},
                %mask: tensor<?x?xi64> {onnx.name = "attention_mask", onnx.dims = ["batch", "total"]},
                %positions: tensor<?x?xi64> {onnx.name = "position_ids", onnx.dims = ["batch", "sequence"]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %pv: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<*xi64> {onnx.name = "mask"}, tensor<*xi64> {onnx.name = "positions"}, tensor<*xf32> {onnx.name = "present.0.key"}, tensor<*xf32> {onnx.name = "present.0.value"}) {
  %t = onnx.node "Transpose"(%x) {name = "turned", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<?x?x2x8xf32>) -> tensor<*xf32>
  %k = onnx.node "Concat"(%pk, %t) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %v = onnx.node "Concat"(%pv, %t) {name = "values", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %m = onnx.node "Identity"(%mask) {name = "mask", version = 17 : i64} : (tensor<?x?xi64>) -> tensor<*xi64>
  %p = onnx.node "Identity"(%positions) {name = "positions", version = 17 : i64} : (tensor<?x?xi64>) -> tensor<*xi64>
  return %m, %p, %k, %v : tensor<*xi64>, tensor<*xi64>, tensor<*xf32>, tensor<*xf32>
}

// -----

// The context's length and the size of a prompt are bounds like others. A cache has room for the largest batch.
// CHECK: #[[CACHE:.*]] = affine_map<()[s0, s1, s2, s3] -> (4, 2, s3, 8)>
// CHECK: edge.symbols = [#edge.symbol<"batch", 1, 4, free>, #edge.symbol<"sequence", 1, 32, free>, #edge.symbol<"past", 0, 100, position>, #edge.symbol<"context", 1, 100, capacity>]
// CHECK: tensor<4x2x?x8xf32, #[[CACHE]]> {{{.*}}edge.state = 0 : i64}
module attributes {edge.bounds = {batch = array<i64: 1, 4>, context = array<i64: 1, 100>, sequence = array<i64: 1, 32>}} {
func.func @main(%x: tensor<?x?x2x8xf32> {onnx.name = "inputs_embeds", onnx.dims = ["batch", "sequence", "", ""]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %pv: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "present.0.key"}, tensor<*xf32> {onnx.name = "present.0.value"}) {
  %t = onnx.node "Transpose"(%x) {name = "turned", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<?x?x2x8xf32>) -> tensor<*xf32>
  %k = onnx.node "Concat"(%pk, %t) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %v = onnx.node "Concat"(%pv, %t) {name = "values", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %t, %k, %v : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}
}

// -----

// A context of one position is still a context: the runtime must know where it ends.
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 512, free>, #edge.symbol<"past", 0, 1, position>, #edge.symbol<"context", 1, 1, capacity>]
// CHECK: return
module attributes {edge.bounds = {context = array<i64: 1, 1>}} {
func.func @main(%x: tensor<?x2x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %k = onnx.node "Concat"(%pk, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}
}

// -----

// A mask by query and key stays an input, whatever it is called.
// CHECK: func.func @main
// CHECK-SAME: tensor<1x1x?x?xf32, {{[^ ]*}}> {edge.element = "f32", edge.name = "attention_mask"}
func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "sequence"]},
                %mask: tensor<?x1x?x?xf32> {onnx.name = "attention_mask", onnx.dims = ["batch", "", "sequence", "past + sequence"]},
                %x: tensor<?x2x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "present.0.key"}) {
  %k = onnx.node "Concat"(%pk, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<*xf32>
  %y = onnx.node "Relu"(%mask) {name = "relu", version = 17 : i64} : (tensor<?x1x?x?xf32>) -> tensor<*xf32>
  return %y, %k : tensor<*xf32>, tensor<*xf32>
}

// -----

// A present that is not the past with this call's rows behind it would have to be copied: the pair stays an input and an output.
// Caches beside it are states as ever; the rows of this one are of the same number of positions.
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 512, free>, #edge.symbol<"past", 0, 4096, position>, #edge.symbol<"context", 1, 4096, capacity>]
// CHECK: func.func @main
// CHECK-SAME: tensor<1x2x?x8xf32, {{[^ ]*}}> {edge.element = "f32", edge.name = "past_key_values.0.key"},
// CHECK-SAME: tensor<1x2x?x8xf32, {{[^ ]*}}> {edge.element = "f32", edge.name = "past_key_values.0.value", edge.state = 0 : i64})
// CHECK-SAME: {edge.element = "f32", edge.name = "present.0.key"}, {{.*}} {edge.state = 0 : i64})
func.func @main(%x: tensor<?x?x2x8xf32> {onnx.name = "inputs_embeds", onnx.dims = ["batch", "sequence", "", ""]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %pv: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}, tensor<*xf32> {onnx.name = "present.0.value"}) {
  %half = onnx.constant {name = "half", value = dense<0.5> : tensor<f32>} : tensor<f32>
  %t = onnx.node "Transpose"(%x) {name = "turned", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<?x?x2x8xf32>) -> tensor<*xf32>
  %k = onnx.node "Concat"(%pk, %t) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %m = onnx.node "Mul"(%k, %half) {name = "decayed", version = 17 : i64} : (tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %v = onnx.node "Concat"(%pv, %t) {name = "values", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %m, %v : tensor<*xf32>, tensor<*xf32>
}

// -----

// Without any cache left there is no session: the mask is an input, and as long as past and tokens even if its size has a name of its own.
// CHECK: #[[MASK:.*]] = affine_map<()[s0, s1] -> (1, s0 + s1)>
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 512, free>, #edge.symbol<"past", 0, 4096, free>]
// CHECK: func.func @main
// CHECK-SAME: tensor<1x?xf32, #[[MASK]]> {edge.element = "f32", edge.name = "attention_mask"}
func.func @main(%x: tensor<?x?x2x8xf32> {onnx.name = "inputs_embeds", onnx.dims = ["batch", "sequence", "", ""]},
                %mask: tensor<?x?xf32> {onnx.name = "attention_mask", onnx.dims = ["batch", "total"]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %axes = onnx.constant {name = "axes", value = dense<[1, 3]> : tensor<2xi64>} : tensor<2xi64>
  %t = onnx.node "Transpose"(%x) {name = "turned", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<?x?x2x8xf32>) -> tensor<*xf32>
  %k = onnx.node "Concat"(%pk, %t) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %u = onnx.node "Unsqueeze"(%mask, %axes) {name = "mask", version = 17 : i64} : (tensor<?x?xf32>, tensor<2xi64>) -> tensor<*xf32>
  %m = onnx.node "Mul"(%k, %u) {name = "masked", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %m : tensor<*xf32>
}

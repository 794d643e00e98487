// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// What a session counts by itself is no argument; `edge.checked` says what a caller who gives it must say. A batch by another name
// is the batch.
// CHECK-DAG: #[[ROW:.*]] = affine_map<()[s0, s1] -> (s0, s1)>
// CHECK-DAG: #[[ALL:.*]] = affine_map<()[s0, s1, s2] -> (s0, s1 + s2)>
// CHECK-DAG: #[[ONE:.*]] = affine_map<() -> (1)>
// CHECK-DAG: #[[PAST:.*]] = affine_map<()[s0, s1, s2] -> (s2)>
// CHECK: func.func @main
// CHECK-NOT: edge.name = "attention_mask"
// CHECK-NOT: edge.name = "position_ids"
// CHECK: edge.checked = [
// CHECK-SAME: {element = "f32", name = "attention_mask", shape = #[[ALL]], values = {equal = #[[ONE]]}}
// CHECK-SAME: {element = "i32", name = "position_ids", shape = #[[ROW]], values = {counting = #[[PAST]]}}
module attributes {edge.bounds = {batch = array<i64: 1, 4>}} {
func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "sequence"]},
                %mask: tensor<?x?xf32> {onnx.name = "attention_mask", onnx.dims = ["mask_batch", "total"]},
                %positions: tensor<?x?xi32> {onnx.name = "position_ids", onnx.dims = ["batch", "sequence"]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %x: tensor<?x2x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %k = onnx.node "Concat"(%pk, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}
}

// -----

// A mask of fixed length ends where the cache is filled; positions may have rank 1.
// CHECK-DAG: #[[FIXED:.*]] = affine_map<() -> (1, 128)>
// CHECK-DAG: #[[FILLED:.*]] = affine_map<()[s0, s1] -> (s0 + s1)>
// CHECK-DAG: #[[TOKENS:.*]] = affine_map<()[s0] -> (s0)>
// CHECK-DAG: #[[PAST:.*]] = affine_map<()[s0, s1] -> (s1)>
// CHECK: edge.checked = [
// CHECK-SAME: {element = "boolean", name = "attention_mask", shape = #[[FIXED]], values = {below = #[[FILLED]]}}
// CHECK-SAME: {element = "i64", name = "cache_position", shape = #[[TOKENS]], values = {counting = #[[PAST]]}}
func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "sequence"]},
                %mask: tensor<?x128xi1> {onnx.name = "attention_mask", onnx.dims = ["batch", ""]},
                %positions: tensor<?xi64> {onnx.name = "cache_position", onnx.dims = ["sequence"]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %x: tensor<?x2x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %k = onnx.node "Concat"(%pk, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}

// -----

// Positions of three axes are more than counting, and so are those of all that is held: both stay arguments.
// CHECK: func.func @main
// CHECK-SAME: edge.name = "position_ids"
// CHECK-SAME: edge.name = "cache_position"
// CHECK: edge.checked = [{element = "i64", name = "attention_mask",
// CHECK-NOT: position_ids
// CHECK: return
func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "sequence"]},
                %positions: tensor<3x?x?xi64> {onnx.name = "position_ids", onnx.dims = ["", "batch", "sequence"]},
                %places: tensor<?x?xi64> {onnx.name = "cache_position", onnx.dims = ["batch", "total"]},
                %mask: tensor<?x?xi64> {onnx.name = "attention_mask", onnx.dims = ["batch", "total"]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %x: tensor<?x2x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %k = onnx.node "Concat"(%pk, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}

// -----

// The lengths of GroupQueryAttention in a session: all rows end with this call's tokens.
// CHECK-DAG: #[[ROWS:.*]] = affine_map<() -> (1)>
// CHECK-DAG: #[[SCALAR:.*]] = affine_map<() -> ()>
// CHECK-DAG: #[[LAST:.*]] = affine_map<()[s0, s1] -> (s0 + s1 - 1)>
// CHECK-DAG: #[[ALL:.*]] = affine_map<()[s0, s1] -> (s0 + s1)>
// CHECK: edge.checked = [
// CHECK-SAME: {element = "i32", name = "seqlens_k", shape = #[[ROWS]], values = {equal = #[[LAST]]}}
// CHECK-SAME: {element = "i32", name = "total_sequence_length", shape = #[[SCALAR]], values = {equal = #[[ALL]]}}
func.func @main(%q: tensor<?x?x24xf32> {onnx.name = "q", onnx.dims = ["batch", "sequence", ""]},
                %pk: tensor<?x1x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %pv: tensor<?x1x?x8xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]},
                %lengths: tensor<?xi32> {onnx.name = "seqlens_k", onnx.dims = ["batch"]},
                %total: tensor<i32> {onnx.name = "total_sequence_length"})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "present.0.key"}, tensor<*xf32> {onnx.name = "present.0.value"}) {
  %none = onnx.none : none
  %y:3 = onnx.node "GroupQueryAttention"(%q, %none, %none, %pk, %pv, %lengths, %total) {domain = "com.microsoft", name = "gqa", version = 1 : i64, params = {num_heads = 1 : i64, kv_num_heads = 1 : i64}} : (tensor<?x?x24xf32>, none, none, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?xi32>, tensor<i32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return %y#0, %y#1, %y#2 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// Ids that are looked up have the range of the smallest table, through views and casts; computed ones have none.
// CHECK: func.func @main
// CHECK-SAME: edge.name = "ids", edge.values = {range = array<i64: -7, 6>}}
// CHECK-SAME: edge.name = "places"}
func.func @main(%ids: tensor<?x2xi64> {onnx.name = "ids", onnx.dims = ["n", ""]},
                %places: tensor<?x2xi64> {onnx.name = "places", onnx.dims = ["n", ""]})
    -> (tensor<*xf32> {onnx.name = "a"}, tensor<*xf32> {onnx.name = "b"}, tensor<*xf32> {onnx.name = "c"}) {
  %ten = onnx.constant {name = "ten", value = dense<1.0> : tensor<10x4xf32>} : tensor<10x4xf32>
  %seven = onnx.constant {name = "seven", value = dense<1.0> : tensor<7x4xf32>} : tensor<7x4xf32>
  %flat = onnx.constant {name = "flat", value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %narrow = onnx.node "Cast"(%ids) {name = "narrow", version = 17 : i64, params = {to = i32}} : (tensor<?x2xi64>) -> tensor<*xi32>
  %a = onnx.node "Gather"(%ten, %narrow) {name = "a", version = 17 : i64} : (tensor<10x4xf32>, tensor<*xi32>) -> tensor<*xf32>
  %line = onnx.node "Reshape"(%ids, %flat) {name = "line", version = 17 : i64} : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<*xi64>
  %b = onnx.node "Gather"(%seven, %line) {name = "b", version = 17 : i64} : (tensor<7x4xf32>, tensor<*xi64>) -> tensor<*xf32>
  %twice = onnx.node "Add"(%places, %places) {name = "twice", version = 17 : i64} : (tensor<?x2xi64>, tensor<?x2xi64>) -> tensor<*xi64>
  %c = onnx.node "Gather"(%seven, %twice) {name = "c", version = 17 : i64} : (tensor<7x4xf32>, tensor<*xi64>) -> tensor<*xf32>
  return %a, %b, %c : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

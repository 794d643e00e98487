// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// What the model's own tables hold limits the sizes whose bounds nobody gave.

// A table of 48 positions, cut to the sequence.
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 48, free>]
// CHECK: return
func.func @main(%x: tensor<1x?x8xf32> {onnx.name = "x", onnx.dims = ["", "sequence", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %table = onnx.constant {name = "table", value = dense<1.0> : tensor<48x8xf32>} : tensor<48x8xf32>
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %shape = onnx.node "Shape"(%x) {name = "shape", version = 17 : i64, params = {start = 1 : i64, end = 2 : i64}} : (tensor<1x?x8xf32>) -> tensor<*xi64>
  %rows = onnx.node "Slice"(%table, %zero, %shape) {name = "rows", version = 17 : i64} : (tensor<48x8xf32>, tensor<1xi64>, tensor<*xi64>) -> tensor<*xf32>
  %y = onnx.node "Add"(%x, %rows) {name = "add", version = 17 : i64} : (tensor<1x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Two sizes that are free shrink in proportion: together they are at most 100.
// CHECK: edge.symbols = [#edge.symbol<"left", 1, 50, free>, #edge.symbol<"right", 1, 50, free>]
// CHECK: return
func.func @main(%a: tensor<?xf32> {onnx.name = "a", onnx.dims = ["left"]}, %b: tensor<?xf32> {onnx.name = "b", onnx.dims = ["right"]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %table = onnx.constant {name = "table", value = dense<1.0> : tensor<100xf32>} : tensor<100xf32>
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %both = onnx.node "Concat"(%a, %b) {name = "both", version = 17 : i64, params = {axis = 0 : i64}} : (tensor<?xf32>, tensor<?xf32>) -> tensor<*xf32>
  %shape = onnx.node "Shape"(%both) {name = "shape", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xi64>
  %rows = onnx.node "Slice"(%table, %zero, %shape) {name = "rows", version = 17 : i64} : (tensor<100xf32>, tensor<1xi64>, tensor<*xi64>) -> tensor<*xf32>
  return %rows : tensor<*xf32>
}

// -----

// Positions count on from what the session holds, so a table of 64 rows limits the context, and no call brings more tokens.
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 64, free>, #edge.symbol<"past", 0, 64, position>, #edge.symbol<"context", 1, 64, capacity>]
// CHECK: edge.embedding
func.func @main(%ids: tensor<1x?xi64> {onnx.name = "input_ids", onnx.dims = ["", "sequence"]},
                %positions: tensor<1x?xi64> {onnx.name = "position_ids", onnx.dims = ["", "sequence"]},
                %x: tensor<1x2x?x8xf32> {onnx.name = "x", onnx.dims = ["", "", "sequence", ""]},
                %past: tensor<1x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "present.0.key"}) {
  %table = onnx.constant {name = "table", value = dense<1.0> : tensor<64x8xf32>} : tensor<64x8xf32>
  %k = onnx.node "Concat"(%past, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<*xf32>
  %y = onnx.node "Gather"(%table, %positions) {name = "rows", version = 17 : i64} : (tensor<64x8xf32>, tensor<1x?xi64>) -> tensor<*xf32>
  return %y, %k : tensor<*xf32>, tensor<*xf32>
}

// -----

// The same for a slice that ends where the session will be, and the two first rows of the table are for something else.
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 62, free>, #edge.symbol<"past", 0, 62, position>, #edge.symbol<"context", 1, 62, capacity>]
// CHECK: return
func.func @main(%ids: tensor<1x?xi64> {onnx.name = "input_ids", onnx.dims = ["", "sequence"]},
                %x: tensor<1x2x?x8xf32> {onnx.name = "x", onnx.dims = ["", "", "sequence", ""]},
                %past: tensor<1x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "present.0.key"}) {
  %table = onnx.constant {name = "table", value = dense<1.0> : tensor<64x8xf32>} : tensor<64x8xf32>
  %two = onnx.constant {name = "two", value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %k = onnx.node "Concat"(%past, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<*xf32>
  %held = onnx.node "Shape"(%past) {name = "held", version = 17 : i64, params = {start = 2 : i64, end = 3 : i64}} : (tensor<1x2x?x8xf32>) -> tensor<*xi64>
  %all = onnx.node "Shape"(%k) {name = "all", version = 17 : i64, params = {start = 2 : i64, end = 3 : i64}} : (tensor<*xf32>) -> tensor<*xi64>
  %begin = onnx.node "Add"(%held, %two) {name = "begin", version = 17 : i64} : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %end = onnx.node "Add"(%all, %two) {name = "end", version = 17 : i64} : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %y = onnx.node "Slice"(%table, %begin, %end) {name = "rows", version = 17 : i64} : (tensor<64x8xf32>, tensor<*xi64>, tensor<*xi64>) -> tensor<*xf32>
  return %y, %k : tensor<*xf32>, tensor<*xf32>
}

// -----

// What the metadata say of the context is the default of a session.
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 128, free>, #edge.symbol<"past", 0, 128, position>, #edge.symbol<"context", 1, 128, capacity>]
// CHECK: return
module attributes {edge.facts = {context_length = "128"}} {
func.func @main(%ids: tensor<1x?xi64> {onnx.name = "input_ids", onnx.dims = ["", "sequence"]},
                %x: tensor<1x2x?x8xf32> {onnx.name = "x", onnx.dims = ["", "", "sequence", ""]},
                %past: tensor<1x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %k = onnx.node "Concat"(%past, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}
}

// -----

// A longer context is held as a whole.
// CHECK: edge.symbols = [#edge.symbol<"sequence", 1, 512, free>, #edge.symbol<"past", 0, 10000, position>, #edge.symbol<"context", 1, 10000, capacity>]
// CHECK: return
module attributes {edge.bounds = {context = array<i64: 1, 10000>}} {
func.func @main(%ids: tensor<1x?xi64> {onnx.name = "input_ids", onnx.dims = ["", "sequence"]},
                %x: tensor<1x2x?x8xf32> {onnx.name = "x", onnx.dims = ["", "", "sequence", ""]},
                %past: tensor<1x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %k = onnx.node "Concat"(%past, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}
}

// -----

// Rows of a table that is an input, whose sizes are not numbers.
// CHECK-NOT: edge.embedding
// CHECK: tensor.extract
func.func @main(%x: tensor<1x?x2x8xf32> {onnx.name = "x", onnx.dims = ["", "sequence", "", ""]},
                %cos: tensor<?x4xf32> {onnx.name = "cos", onnx.dims = ["rows", ""]}, %sin: tensor<?x4xf32> {onnx.name = "sin", onnx.dims = ["rows", ""]},
                %positions: tensor<1x?xi64> {onnx.name = "positions", onnx.dims = ["", "sequence"]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %t = onnx.node "Transpose"(%x) {name = "turned", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<1x?x2x8xf32>) -> tensor<*xf32>
  %y = onnx.node "RotaryEmbedding"(%t, %cos, %sin, %positions) {name = "rope", version = 23 : i64} : (tensor<*xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<1x?xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Bounds cannot say that one size is at most another: that shows in a call, which must not read behind the elements.
// CHECK: edge.symbols = [#edge.symbol<"long", 1, 1024, free>, #edge.symbol<"short", 1, 1024, free>]
// CHECK: %[[INSIDE:.*]] = arith.cmpi ult
// CHECK: arith.select %[[INSIDE]]
// CHECK: tensor.extract
// CHECK: arith.select %[[INSIDE]]
func.func @main(%x: tensor<?xf32> {onnx.name = "x", onnx.dims = ["long"]}, %y: tensor<?xf32> {onnx.name = "y", onnx.dims = ["short"]}) -> (tensor<*xf32> {onnx.name = "z"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %short = onnx.node "Shape"(%y) {name = "short", version = 17 : i64} : (tensor<?xf32>) -> tensor<*xi64>
  %z = onnx.node "Slice"(%x, %zero, %short) {name = "shorter", version = 17 : i64} : (tensor<?xf32>, tensor<1xi64>, tensor<*xi64>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

// A size that must be a number is that number.
// CHECK: edge.symbols = [#edge.symbol<"n", 5, 5, free>]
// CHECK: return
module attributes {edge.bounds = {n = array<i64: 1, 16>}} {
func.func @main(%x: tensor<?x2xf32> {onnx.name = "x", onnx.dims = ["n", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %w = onnx.constant {name = "w", value = dense<1.0> : tensor<5x2xf32>} : tensor<5x2xf32>
  %y = onnx.node "Add"(%x, %w) {name = "add", version = 17 : i64} : (tensor<?x2xf32>, tensor<5x2xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}
}

// -----

// A slice up to another free size: no bound keeps the end inside, so the runtime looks at each call.
// CHECK-DAG: #[[INSIDE:.*]] = affine_map<()[s0, s1] -> (-s1 + s0)>
// CHECK: func.func @main
// CHECK-SAME: edge.sizes = #[[INSIDE]]
func.func @main(%x: tensor<?xf32> {onnx.name = "x", onnx.dims = ["n"]}, %z: tensor<?xf32> {onnx.name = "z", onnx.dims = ["m"]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %0 = onnx.node "Shape"(%z) {name = "size", version = 17 : i64} : (tensor<?xf32>) -> tensor<*xi64>
  %1 = onnx.node "Slice"(%x, %zero, %0) {name = "front", version = 17 : i64} : (tensor<?xf32>, tensor<1xi64>, tensor<*xi64>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

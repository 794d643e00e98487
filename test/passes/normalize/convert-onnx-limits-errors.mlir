// RUN: not edgecc-opt %s --edge-convert-onnx --split-input-file 2>&1 | FileCheck %s

// Bounds that the user gave and the model's own tables cannot hold: with the numbers, and what fits.

// One sentence for a limit, however many nodes have it.
// CHECK: 1 node cannot be compiled:
// CHECK-NEXT: rows (Slice, {{.*}}): reads up to 64 of 48 elements of dimension 0; give --dim sequence=1..48{{$}}
module attributes {edge.bounds = {sequence = array<i64: 1, 64>}} {
func.func @main(%x: tensor<1x?x8xf32> {onnx.name = "x", onnx.dims = ["", "sequence", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %table = onnx.constant {name = "table", value = dense<1.0> : tensor<48x8xf32>} : tensor<48x8xf32>
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %shape = onnx.node "Shape"(%x) {name = "shape", version = 17 : i64, params = {start = 1 : i64, end = 2 : i64}} : (tensor<1x?x8xf32>) -> tensor<*xi64>
  %rows = onnx.node "Slice"(%table, %zero, %shape) {name = "rows", version = 17 : i64} : (tensor<48x8xf32>, tensor<1xi64>, tensor<*xi64>) -> tensor<*xf32>
  %again = onnx.node "Slice"(%table, %zero, %shape) {name = "again", version = 17 : i64} : (tensor<48x8xf32>, tensor<1xi64>, tensor<*xi64>) -> tensor<*xf32>
  %s = onnx.node "Add"(%x, %rows) {name = "add", version = 17 : i64} : (tensor<1x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %y = onnx.node "Add"(%s, %again) {name = "more", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}
}

// -----

// CHECK: rows (Gather, {{.*}}): looks up row 99 of a table of 64 rows; give --context 64{{$}}
module attributes {edge.bounds = {context = array<i64: 1, 100>}} {
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
}

// -----

// CHECK: the model has 128 positions (context_length): a context of 129 is too long; give --context 128 or less
module attributes {edge.bounds = {context = array<i64: 1, 129>}, edge.facts = {context_length = "128"}} {
func.func @main(%ids: tensor<1x?xi64> {onnx.name = "input_ids", onnx.dims = ["", "sequence"]},
                %x: tensor<1x2x?x8xf32> {onnx.name = "x", onnx.dims = ["", "", "sequence", ""]},
                %past: tensor<1x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %k = onnx.node "Concat"(%past, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}
}

// -----

// CHECK: add (Add, {{.*}}): a size must be 5, but is 1 to 4; give other bounds of n with --dim{{$}}
module attributes {edge.bounds = {n = array<i64: 1, 4>}} {
func.func @main(%x: tensor<?x2xf32> {onnx.name = "x", onnx.dims = ["n", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %w = onnx.constant {name = "w", value = dense<1.0> : tensor<5x2xf32>} : tensor<5x2xf32>
  %y = onnx.node "Add"(%x, %w) {name = "add", version = 17 : i64} : (tensor<?x2xf32>, tensor<5x2xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}
}

// -----

// A position from the end that small sizes do not have: ONNX clamps it, and the size of the result would be no expression.
// CHECK: error: 2 nodes cannot be compiled:
// CHECK-NEXT: tail (Slice, {{.*}}): whether position -3 lies inside of dimension 0 is not known; give tighter bounds with --dim{{$}}
// CHECK-NEXT: head (Slice, {{.*}}): whether position -2 lies inside of dimension 0 is not known; give tighter bounds with --dim{{$}}
module attributes {edge.bounds = {n = array<i64: 1, 4>}} {
func.func @main(%x: tensor<?x2xf32> {onnx.name = "x", onnx.dims = ["n", ""]}) -> (tensor<*xf32> {onnx.name = "t"}, tensor<*xf32> {onnx.name = "h"}, tensor<*xf32> {onnx.name = "l"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %one = onnx.constant {name = "one", value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %two = onnx.constant {name = "two", value = dense<-2> : tensor<1xi64>} : tensor<1xi64>
  %three = onnx.constant {name = "three", value = dense<-3> : tensor<1xi64>} : tensor<1xi64>
  %end = onnx.constant {name = "end", value = dense<9223372036854775807> : tensor<1xi64>} : tensor<1xi64>
  %tail = onnx.node "Slice"(%x, %three, %end) {name = "tail", version = 17 : i64} : (tensor<?x2xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %head = onnx.node "Slice"(%x, %zero, %two) {name = "head", version = 17 : i64} : (tensor<?x2xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %last = onnx.node "Slice"(%x, %one, %end) {name = "last", version = 17 : i64} : (tensor<?x2xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  return %tail, %head, %last : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}
}

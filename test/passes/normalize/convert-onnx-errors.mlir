// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file --verify-diagnostics

// A bound for a dimension that the model does not have: here are those it has.
module attributes {edge.bounds = {seq = array<i64: 1, 16>, context = array<i64: 1, 64>}} {
// expected-error @+1 {{there is no dimension "seq"; the model has: batch, sequence}}
func.func @main(%x: tensor<?x?xf32> {onnx.name = "x", onnx.dims = ["batch", "sequence"]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Relu"(%x) {name = "relu", version = 17 : i64} : (tensor<?x?xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
}

// -----

module attributes {edge.bounds = {batch = array<i64: 1, 16>}} {
// expected-error @+1 {{there is no dimension "batch"; the model has: none}}
func.func @main(%x: tensor<4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Relu"(%x) {name = "relu", version = 17 : i64} : (tensor<4xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
}

// -----

// expected-error @+1 {{input "x" has no shape; export it with at least its rank}}
func.func @main(%x: tensor<*xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Relu"(%x) {name = "relu", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// Sizes that are not equal as polynomials: the message says both.
// expected-error @below {{1 node cannot be compiled:}}
module {
func.func @main(%x: tensor<?xf32> {onnx.name = "x", onnx.dims = ["a"]}, %y: tensor<?xf32> {onnx.name = "y", onnx.dims = ["b"]}) -> (tensor<*xf32> {onnx.name = "z"}) {
  %0 = onnx.node "Add"(%x, %y) {name = "add", version = 17 : i64} : (tensor<?xf32>, tensor<?xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
}

// -----

// expected-error @below {{has no function main}}
module {
}

// -----

// A cache of 64 positions has 64.
module attributes {edge.bounds = {context = array<i64: 1, 100>}} {
// expected-error @+1 {{the caches of this model have 64 positions: a context of 100 needs another export}}
func.func @main(%x: tensor<?x2x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]},
                %at: tensor<?xi64> {onnx.name = "write_indices", onnx.dims = ["batch"]},
                %past: tensor<?x2x64x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %k = onnx.node "TensorScatter"(%past, %x, %at) {name = "keys", version = 24 : i64} : (tensor<?x2x64x8xf32>, tensor<?x2x?x8xf32>, tensor<?xi64>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}
}

// -----

// What a cache grows by must have its batch.
// expected-error @below {{keys (Concat, opset 17, inputs tensor<1x2x?x8xf32, affine_map<()[s0, s1] -> (1, 2, s1, 8)>>, tensor<4x2x?x8xf32, affine_map<()[s0] -> (4, 2, s0, 8)>>): sizes 4 and 1 must be equal}}
module {
func.func @main(%x: tensor<4x2x?x8xf32> {onnx.name = "x", onnx.dims = ["", "", "sequence", ""]},
                %past: tensor<1x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "present.0.key"}) {
  %k = onnx.node "Concat"(%past, %x) {name = "keys", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<1x2x?x8xf32>, tensor<4x2x?x8xf32>) -> tensor<*xf32>
  return %k : tensor<*xf32>
}
}

// -----

// A view must not reach behind its elements, whatever sizes come at run time.
// expected-error @below {{view (Reshape, opset 17, inputs tensor<?x4xf32, affine_map<()[s0] -> (s0, 4)>>, tensor<2xi64>): reshapes s0 * 4 elements to s1 * 4, which cannot be shown to be as many; name the dimensions alike in the export, or fix them with --dim}}
module {
func.func @main(%x: tensor<?x4xf32> {onnx.name = "x", onnx.dims = ["a", ""]}, %y: tensor<?x4xf32> {onnx.name = "y", onnx.dims = ["b", ""]}) -> (tensor<*xf32> {onnx.name = "z"}) {
  %0 = onnx.node "Shape"(%y) {name = "shape", version = 17 : i64} : (tensor<?x4xf32>) -> tensor<*xi64>
  %1 = onnx.node "Reshape"(%x, %0) {name = "view", version = 17 : i64} : (tensor<?x4xf32>, tensor<*xi64>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}
}

// -----

// expected-error @below {{reshapes 8 elements to 6}}
module {
func.func @main(%x: tensor<2x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "z"}) {
  %shape = onnx.constant {name = "shape", value = dense<[2, 3]> : tensor<2xi64>} : tensor<2xi64>
  %1 = onnx.node "Reshape"(%x, %shape) {name = "view", version = 17 : i64} : (tensor<2x4xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}
}

// -----

// expected-error @below {{splits 4 into parts of 2 together}}
module {
func.func @main(%x: tensor<2x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "z"}) {
  %0:2 = onnx.node "Split"(%x) {name = "parts", version = 11 : i64, params = {axis = 1 : i64, split = array<i64: 1, 1>}} : (tensor<2x4xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  return %0#0 : tensor<*xf32>
}
}

// -----

// expected-error @below {{splits s0 into parts of 4 together, which cannot be shown to be as many; fix the size with --dim}}
module {
func.func @main(%x: tensor<?xf32> {onnx.name = "x", onnx.dims = ["a"]}) -> (tensor<*xf32> {onnx.name = "z"}) {
  %0:2 = onnx.node "Split"(%x) {name = "parts", version = 11 : i64, params = {split = array<i64: 2, 2>}} : (tensor<?xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  return %0#0 : tensor<*xf32>
}
}

// -----

// expected-error @below {{squeezes dimension 0, which is not known to be 1; fix it with --dim}}
module {
func.func @main(%x: tensor<?x4xf32> {onnx.name = "x", onnx.dims = ["a", ""]}) -> (tensor<*xf32> {onnx.name = "z"}) {
  %axis = onnx.constant {name = "axis", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %0 = onnx.node "Squeeze"(%x, %axis) {name = "squeeze", version = 13 : i64} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
}

// -----

// What is read by one size must not have another.
// expected-error @below {{4 nodes cannot be compiled:}}
module {
func.func @main(%x: tensor<?x4xf32> {onnx.name = "x", onnx.dims = ["a", ""]}, %y: tensor<?x4xf32> {onnx.name = "y", onnx.dims = ["b", ""]},
                %r: tensor<3x?xf32> {onnx.name = "r", onnx.dims = ["", "b"]}, %i: tensor<?x4xi64> {onnx.name = "i", onnx.dims = ["a", ""]},
                %j: tensor<?x1xi64> {onnx.name = "j", onnx.dims = ["a", ""]}) -> (tensor<*xf32> {onnx.name = "z"}) {
  %0 = onnx.node "Concat"(%x, %y) {name = "concat", version = 17 : i64, params = {axis = 1 : i64}} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<*xf32>
  %1 = onnx.node "MatMul"(%r, %x) {name = "product", version = 17 : i64} : (tensor<3x?xf32>, tensor<?x4xf32>) -> tensor<*xf32>
  %2 = onnx.node "ScatterElements"(%x, %i, %y) {name = "scatter", version = 18 : i64} : (tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x4xf32>) -> tensor<*xf32>
  %3 = onnx.node "ScatterND"(%x, %j, %y) {name = "scatter_rows", version = 18 : i64} : (tensor<?x4xf32>, tensor<?x1xi64>, tensor<?x4xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
}

// -----

// A wrong option does not hide them.
// expected-error @below {{1 node cannot be compiled:}}
module attributes {edge.bounds = {batch = array<i64: 1, 16>}} {
// expected-error @below {{there is no dimension "batch"; the model has: none}}
func.func @main(%x: tensor<4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Det"(%x) {name = "Det_0", version = 17 : i64} : (tensor<4xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
}

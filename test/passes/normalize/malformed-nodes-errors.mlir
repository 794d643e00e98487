// RUN: not edgecc-opt %s --edge-convert-onnx --split-input-file 2>&1 | FileCheck %s

// What no operator means is said with its node; nothing that is built of it crashes.

// CHECK: turn (Transpose, opset 13, inputs tensor<2x3xf32>): axis 7 of a tensor of rank 2; give -2 to 1
// CHECK: twice (Transpose, opset 13, inputs tensor<2x3xf32>): axis 1 is given twice
// CHECK: short (Transpose, opset 13, inputs tensor<2x3xf32>): perm has 1 axes, the input has rank 2
// CHECK: kind (Transpose, opset 13, inputs tensor<2x3xf32>): attribute perm is no list of integers
// CHECK: norm (LayerNormalization, opset 17, inputs tensor<2x3xf32>, tensor<3xf32>): axis -3 of a tensor of rank 2; give -2 to 1
// CHECK: join (Concat, opset 13, inputs tensor<2x3xf32>, tensor<2x3xf32>): attribute axis is missing
func.func @main(%x: tensor<2x3xf32> {onnx.name = "x"}, %s: tensor<3xf32> {onnx.name = "s"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Transpose"(%x) {name = "turn", version = 13 : i64, params = {perm = array<i64: 1, 7>}} : (tensor<2x3xf32>) -> tensor<*xf32>
  %1 = onnx.node "Transpose"(%x) {name = "twice", version = 13 : i64, params = {perm = array<i64: 1, -1>}} : (tensor<2x3xf32>) -> tensor<*xf32>
  %2 = onnx.node "Transpose"(%x) {name = "short", version = 13 : i64, params = {perm = array<i64: 0>}} : (tensor<2x3xf32>) -> tensor<*xf32>
  %3 = onnx.node "Transpose"(%x) {name = "kind", version = 13 : i64, params = {perm = "1, 0"}} : (tensor<2x3xf32>) -> tensor<*xf32>
  %4 = onnx.node "LayerNormalization"(%x, %s) {name = "norm", version = 17 : i64, params = {axis = -3 : i64}} : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<*xf32>
  %5 = onnx.node "Concat"(%x, %x) {name = "join", version = 13 : i64} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<*xf32>
  return %5 : tensor<*xf32>
}

// -----

// Inputs: how many, of which types, of which rank.
// CHECK: few (MatMul, opset 13, inputs tensor<2x3xf32>): has 1 inputs; the operator takes 2
// CHECK: mixed (Add, opset 13, inputs tensor<2x3xf32>, tensor<1xi64>): inputs 0 and 1 have elements of types f32 and i64, which must be the same
// CHECK: integers (Erf, opset 13, inputs tensor<1xi64>)
// CHECK: one (Conv, opset 11, inputs tensor<2x3xf32>, tensor<2x3xf32>): input 0 has rank 2; it must be at least 3
// CHECK: scalar (Range, opset 11, inputs tensor<2xi64>, tensor<1xi64>, tensor<1xi64>): input 0 must have one element
// CHECK: still (Range, opset 11, inputs tensor<1xi64>, tensor<1xi64>, tensor<1xi64>): the step (input 2) is 0
// CHECK: insert (Unsqueeze, opset 13, inputs tensor<2x3xf32>, tensor<1xi64>): axis 9 of a tensor of rank 3; give -3 to 2
// CHECK: back (Slice, opset 13, inputs tensor<2x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>): a step is 0
// CHECK: vast (ConstantOfShape, opset 9, inputs tensor<2xi64>): a result has the shape [1099511627776x1099511627776], more elements than any memory holds
// CHECK: below (ConstantOfShape, opset 9, inputs tensor<1xi64>): a result has the size -4
func.func @main(%x: tensor<2x3xf32> {onnx.name = "x"}, %i: tensor<1xi64> {onnx.name = "i"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %nine = onnx.constant {name = "nine", value = dense<9> : tensor<1xi64>} : tensor<1xi64>
  %below = onnx.constant {name = "minus", value = dense<-4> : tensor<1xi64>} : tensor<1xi64>
  %vast = onnx.constant {name = "much", value = dense<1099511627776> : tensor<2xi64>} : tensor<2xi64>
  %0 = onnx.node "MatMul"(%x) {name = "few", version = 13 : i64} : (tensor<2x3xf32>) -> tensor<*xf32>
  %1 = onnx.node "Add"(%x, %i) {name = "mixed", version = 13 : i64} : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<*xf32>
  %2 = onnx.node "Erf"(%i) {name = "integers", version = 13 : i64} : (tensor<1xi64>) -> tensor<*xf32>
  %3 = onnx.node "Conv"(%x, %x) {name = "one", version = 11 : i64} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<*xf32>
  %4 = onnx.node "Range"(%vast, %nine, %nine) {name = "scalar", version = 11 : i64} : (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xi64>
  %5 = onnx.node "Range"(%nine, %nine, %zero) {name = "still", version = 11 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xi64>
  %6 = onnx.node "Unsqueeze"(%x, %nine) {name = "insert", version = 13 : i64} : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<*xf32>
  %7 = onnx.node "Slice"(%x, %zero, %nine, %zero, %zero) {name = "back", version = 13 : i64} : (tensor<2x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %8 = onnx.node "ConstantOfShape"(%vast) {name = "vast", version = 9 : i64} : (tensor<2xi64>) -> tensor<*xf32>
  %9 = onnx.node "ConstantOfShape"(%below) {name = "below", version = 9 : i64} : (tensor<1xi64>) -> tensor<*xf32>
  return %9 : tensor<*xf32>
}

// -----

// Numbers that would divide by zero or end no loop, lists of another length, operands that do not fit, what only the op's own
// verifier sees.
// CHECK: none (Conv, opset 11, inputs tensor<1x4x8xf32>, tensor<4x4x3xf32>): attribute group is 0; it must be 1 to
// CHECK: step (Conv, opset 11, inputs tensor<1x4x8xf32>, tensor<4x4x3xf32>): attribute strides has 2 numbers, it must have 1
// CHECK: block (SpaceToDepth, opset 13, inputs tensor<1x4x8x8xf32>): attribute blocksize is 0
// CHECK: power (LpNormalization, opset 1, inputs tensor<1x4x8xf32>): attribute p is 2147483648; it must be 1 to 64
// CHECK: bias (Gemm, opset 13, inputs tensor<2x3xf32>, tensor<3x3xf32>, tensor<7xf32>): shape [7] does not broadcast to [2x3]
// CHECK: letters (Einsum, opset 12, inputs tensor<2x3xf32>, tensor<3x3xf32>): the term 'ijk' of the equation does not fit input 0 of rank 2
// CHECK: heads (Attention, opset 23, inputs tensor<1x4x8x8xf32>, tensor<1x3x8x8xf32>, tensor<1x3x8x8xf32>): 'edge.attention' op has 4 heads, which is no multiple of its 3 KV heads
func.func @main(%x: tensor<1x4x8xf32> {onnx.name = "x"}, %w: tensor<4x4x3xf32> {onnx.name = "w"}, %p: tensor<1x4x8x8xf32> {onnx.name = "p"},
                %k: tensor<1x3x8x8xf32> {onnx.name = "k"}, %m: tensor<2x3xf32> {onnx.name = "m"}, %n: tensor<3x3xf32> {onnx.name = "n"},
                %b: tensor<7xf32> {onnx.name = "b"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Conv"(%x, %w) {name = "none", version = 11 : i64, params = {group = 0 : i64}} : (tensor<1x4x8xf32>, tensor<4x4x3xf32>) -> tensor<*xf32>
  %1 = onnx.node "Conv"(%x, %w) {name = "step", version = 11 : i64, params = {strides = array<i64: 1, 1>}} : (tensor<1x4x8xf32>, tensor<4x4x3xf32>) -> tensor<*xf32>
  %2 = onnx.node "SpaceToDepth"(%p) {name = "block", version = 13 : i64, params = {blocksize = 0 : i64}} : (tensor<1x4x8x8xf32>) -> tensor<*xf32>
  %3 = onnx.node "LpNormalization"(%x) {name = "power", version = 1 : i64, params = {p = 2147483648 : i64}} : (tensor<1x4x8xf32>) -> tensor<*xf32>
  %4 = onnx.node "Gemm"(%m, %n, %b) {name = "bias", version = 13 : i64} : (tensor<2x3xf32>, tensor<3x3xf32>, tensor<7xf32>) -> tensor<*xf32>
  %5 = onnx.node "Einsum"(%m, %n) {name = "letters", version = 12 : i64, params = {equation = "ijk,kl->il"}} : (tensor<2x3xf32>, tensor<3x3xf32>) -> tensor<*xf32>
  %6 = onnx.node "Attention"(%p, %k, %k) {name = "heads", version = 23 : i64} : (tensor<1x4x8x8xf32>, tensor<1x3x8x8xf32>, tensor<1x3x8x8xf32>) -> tensor<*xf32>
  return %6 : tensor<*xf32>
}

// RUN: not edgecc-opt %s --edge-convert-onnx --mlir-print-op-on-diagnostic=false 2>&1 | FileCheck %s

// What the import refused is in the list, and what it says of the graph; nodes behind one that fails are looked at as far as the
// file says what it makes.
// CHECK: error: 6 problems of the model:
// CHECK-NEXT: {{^}}  input 's' is a tensor of string
// CHECK-NEXT: {{^}}  Foo_0 (acme.Foo, opset 3, inputs tensor<4xf32>): not known
// CHECK-NEXT: {{^}}  Unique_1 (Unique, opset 17): the size of the result depends on data; compute it outside of the model
// CHECK-NEXT: {{^}}  Det_4 (Det, opset 17, inputs tensor<*xf32>): is not supported; export without it, or with its definition as a local function of the model
// CHECK-NEXT: {{^}}  Reshape_5 (Reshape, opset 17, inputs tensor<4xf32>, tensor<2xi64>): reshapes 4 elements to 6
// CHECK-NEXT: {{^}}  Range_6 (Range, opset 7, inputs tensor<4xf32>, tensor<4xf32>, tensor<4xf32>): this version of the operator is not supported
// CHECK-NOT: {{^}}  {{.}}
module attributes {onnx.problems = ["input 's' is a tensor of string"]} {
func.func @main(%x: tensor<4xf32> {onnx.name = "x"}, %s: none {onnx.name = "s"}) -> (tensor<*xf32> {onnx.name = "y"}, none {onnx.name = "z"}) {
  %missing = onnx.none {missing} : none
  %0:2 = onnx.node "Foo"(%x) {name = "Foo_0", domain = "acme", version = 3 : i64, refused = "not known"} : (tensor<4xf32>) -> (tensor<4xf32>, tensor<*xindex>)
  %1 = onnx.node "Unique"(%0#1) {name = "Unique_1", version = 17 : i64} : (tensor<*xindex>) -> tensor<*xf32>
  %2 = onnx.node "Cast"(%0#1) {name = "Cast_2", version = 17 : i64} : (tensor<*xindex>) -> tensor<*xf32>
  %3 = onnx.node "Add"(%x, %missing) {name = "Add_3", version = 17 : i64} : (tensor<4xf32>, none) -> tensor<*xf32>
  %4 = onnx.node "Det"(%3) {name = "Det_4", version = 17 : i64} : (tensor<*xf32>) -> tensor<*xf32>
  %shape = onnx.constant {name = "shape", value = dense<[2, 3]> : tensor<2xi64>} : tensor<2xi64>
  %5 = onnx.node "Reshape"(%0#0, %shape) {name = "Reshape_5", version = 17 : i64} : (tensor<4xf32>, tensor<2xi64>) -> tensor<*xf32>
  %6 = onnx.node "Range"(%x, %x, %x) {name = "Range_6", version = 7 : i64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<*xf32>
  return %5, %missing : tensor<*xf32>, none
}
}

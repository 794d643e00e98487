// RUN: edgecc-opt %s --edge-convert-onnx --verify-diagnostics
// RUN: not edgecc-opt %s --edge-convert-onnx --mlir-print-op-on-diagnostic=false 2>&1 | FileCheck %s

// All that is wrong is said at once, a line for each node: an unknown operator, an unknown domain, a version before the first row, data
// that say a shape. The sum of what is unknown is not worth a line.
// CHECK: error: 4 nodes cannot be compiled:
// CHECK-NEXT: {{^}}  /a/Bogus (Bogus, opset 17, inputs tensor<4xf32>): is not supported
// CHECK-NEXT: {{^}}  /b/Gelu (com.example.Gelu, opset 1, inputs tensor<4xf32>): is not supported
// CHECK-NEXT: {{^}}  /c/Range (Range, opset 7, inputs tensor<4xf32>, tensor<4xf32>, tensor<4xf32>): this version of the operator is not supported; export with a newer opset
// CHECK-NEXT: {{^}}  /d/Reshape (Reshape, opset 17, inputs tensor<4xf32>, tensor<1xi64>): the shape is computed at run time from data; export with a fixed shape
// CHECK-NOT: /e/Add
// expected-error @below {{4 nodes cannot be compiled:}}
module {
func.func @main(%x: tensor<4xf32> {onnx.name = "x"}, %s: tensor<1xi64> {onnx.name = "s"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Bogus"(%x) {name = "/a/Bogus", version = 17 : i64} : (tensor<4xf32>) -> tensor<*xf32>
  %1 = onnx.node "Gelu"(%x) {name = "/b/Gelu", domain = "com.example", version = 1 : i64} : (tensor<4xf32>) -> tensor<*xf32>
  %2 = onnx.node "Range"(%x, %x, %x) {name = "/c/Range", version = 7 : i64} : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<*xf32>
  %3 = onnx.node "Reshape"(%x, %s) {name = "/d/Reshape", version = 17 : i64} : (tensor<4xf32>, tensor<1xi64>) -> tensor<*xf32>
  %4 = onnx.node "Add"(%0, %1) {name = "/e/Add", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %4 : tensor<*xf32>
}
}

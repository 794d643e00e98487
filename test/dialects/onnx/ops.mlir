// RUN: edgecc-opt %s | edgecc-opt | FileCheck %s

// A graph as a file has it: names, versions and attributes stay; types that the file does not say are unranked.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %{{.*}}: tensor<?x8xf32> {onnx.dims = ["batch", ""], onnx.name = "x"}
// CHECK: %[[W:.*]] = onnx.constant {name = "w", value = dense<1> : tensor<8x4xui8>} : tensor<8x4xui8>
// CHECK: %[[N:.*]] = onnx.none : none
// CHECK: %[[R:.*]]:2 = onnx.node "Fused"(%{{.*}}, %[[N]], %[[W]]) {domain = "com.example", name = "/layer.0/Fused", params = {axes = array<i64: 0, -1>, mode = "linear", to = f16}, version = 3 : i64}
// CHECK-SAME: : (tensor<?x8xf32>, none, tensor<8x4xui8>) -> (tensor<*xf32>, tensor<*xi1>)
func.func @main(%x: tensor<?x8xf32> {onnx.name = "x", onnx.dims = ["batch", ""]}) -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xi1> {onnx.name = "z"}) {
  %w = onnx.constant {name = "w", value = dense<1> : tensor<8x4xui8>} : tensor<8x4xui8>
  %none = onnx.none : none
  %0:2 = onnx.node "Fused"(%x, %none, %w) {name = "/layer.0/Fused", domain = "com.example", version = 3 : i64,
      params = {axes = array<i64: 0, -1>, mode = "linear", to = f16}} : (tensor<?x8xf32>, none, tensor<8x4xui8>) -> (tensor<*xf32>, tensor<*xi1>)
  return %0#0, %0#1 : tensor<*xf32>, tensor<*xi1>
}

// What is said by default is not printed.
// CHECK-LABEL: func.func @defaults
// CHECK: onnx.node "Relu"(%{{.*}}) {name = "relu", version = 17 : i64} : (tensor<4xf32>) -> tensor<4xf32>
func.func @defaults(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = onnx.node "Relu"(%x) {name = "relu", domain = "", version = 17 : i64, params = {}} : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// RUN: edgecc-opt %s "--edge-quantize-weights=layers={kept,also,table}=w8a8" | FileCheck %s
// RUN: edgecc-opt %s "--edge-quantize-weights=layers={kept,also,table}=w8a8" --edge-pack-weights | FileCheck %s --check-prefix=PACKED
// RUN: not edgecc-opt %s "--edge-quantize-weights=layers=beyond=w8a8" 2>&1 | FileCheck %s --check-prefix=BEYOND

// Two channels are a thousand times the rest, which does not notice: its scale is 1, and their own numbers (zero is 80) mean nothing.
// The ledger counts what is kept: 32 + 4 + 2 * 2 bytes.
// CHECK: edge.ledger = [{bytes_after = 40 : i64, bytes_before = 128 : i64, decibels = 2.000000e+02 : f64, error = 0.000000e+00 : f64
// CHECK-LABEL: @two_layers
// CHECK: edge.weight "kept.outliers" {value = dense<[1, 20]> : tensor<2xi32>}
// CHECK: edge.weight "kept.outlier_weights" {value = dense_resource<kept.outlier_weights> : tensor<1x2xf16>}
// CHECK: edge.linear {{.*}} scales(%{{.*}} : tensor<1x1xf32>) outliers(%{{.*}}, %{{.*}} : tensor<2xi32>, tensor<1x2xf16>) {quantization

// Layers with the same outliers read one list, so that their input is quantized once.
// PACKED-LABEL: @two_layers
// PACKED: %[[I:.*]] = edge.weight "{{kept|also}}.outliers"
// PACKED-NOT: .outliers"
// PACKED: edge.linear %{{.*}}, %{{.*}} outliers(%[[I]], %[[W:.*]] : tensor<2xi32>, tensor<1x2x16xf16>) {layout = 2
// PACKED: edge.linear %{{.*}}, %{{.*}} outliers(%[[I]], %{{.*}} : tensor<2xi32>, tensor<1x2x16xf16>) {layout = 2
func.func @two_layers(%x: tensor<4x32xf32>) -> (tensor<4x1xf32>, tensor<4x1xf32>) {
  %w = edge.weight "kept" {value = dense<[[127.0, 1000.0, -127.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
                                          0.0, 0.0, 0.0, 0.0, -2000.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]]> : tensor<1x32xf32>} : tensor<1x32xf32>
  %v = edge.weight "also" {value = dense<[[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
                                          0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 127.0]]> : tensor<1x32xf32>} : tensor<1x32xf32>
  %y = edge.linear %x, %w {edge.outliers = array<i32: 20, 1>} : tensor<4x32xf32>, tensor<1x32xf32> -> tensor<4x1xf32>
  %z = edge.linear %x, %v {edge.outliers = array<i32: 1, 20>} : tensor<4x32xf32>, tensor<1x32xf32> -> tensor<4x1xf32>
  return %y, %z : tensor<4x1xf32>, tensor<4x1xf32>
}

// A tied table keeps the columns that its head does.
// CHECK-LABEL: @tied
// CHECK: edge.embedding {{.*}} outliers(%[[I:.*]], %[[W:.*]] : tensor<1xi32>, tensor<2x1xf16>)
// CHECK: edge.linear {{.*}} outliers(%[[I]], %[[W]] : tensor<1xi32>, tensor<2x1xf16>)
// PACKED-LABEL: @tied
// PACKED: edge.embedding {{.*}} outliers(%[[I:.*]], %[[W:.*]] : tensor<1xi32>, tensor<1x1x16xf16>) {layout = 2
// PACKED: edge.linear {{.*}} outliers(%[[I]], %[[W]] : tensor<1xi32>, tensor<1x1x16xf16>) {layout = 2
func.func @tied(%ids: tensor<4xi64>) -> tensor<4x2xf32> {
  %t = edge.weight "table" {value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>} : tensor<2x2xf32>
  %x = edge.embedding %ids, %t : tensor<4xi64>, tensor<2x2xf32> -> tensor<4x2xf32>
  %y = edge.linear %x, %t {edge.outliers = array<i32: 1>} : tensor<4x2xf32>, tensor<2x2xf32> -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// BEYOND: error: {{.*}}weight 'beyond': outlier 2 is none of its 2 input channels
func.func @beyond(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %w = edge.weight "beyond" {value = dense<[[1.0, 2.0], [3.0, 5.0]]> : tensor<2x2xf32>} : tensor<2x2xf32>
  %y = edge.linear %x, %w {edge.outliers = array<i32: 0, 2>} : tensor<4x2xf32>, tensor<2x2xf32> -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// CHECK-DAG: kept.numbers: "0x40000000FF8001818080
// CHECK-DAG: kept.scales: "0x400000000000803F"
// CHECK-DAG: kept.outlier_weights: "0x40000000D063D0E7"

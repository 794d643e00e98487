// The example is built outside of the tree and loaded by both programs.
// RUN: %python %S/../Inputs/build_plugin.py %S %t
// RUN: edgecc-opt --load-pass-plugin=%t/fold-norm-scales.so --fold-norm-scales --verify-diagnostics %s | FileCheck %s
// RUN: edgecc %s --load-pass-plugin=%t/fold-norm-scales.so --plugin-pass=fold-norm-scales --emit=edge | FileCheck %s --check-prefix=COMPILED
// RUN: edgecc %s --load-pass-plugin=%t/fold-norm-scales.so --plugin-pass='compress:func.func(fold-norm-scales)' --print-pipeline \
// RUN:   --quant=w8a8 | FileCheck %s --check-prefix=ORDER
// RUN: edgecc %s --load-pass-plugin=%t/fold-norm-scales.so --plugin-pass=normalize:fold-norm-scales --print-pipeline --quant=w8a8 \
// RUN:   | FileCheck %s --check-prefix=DEFAULT

// ORDER: edge-quantize-weights{{.*}}func.func(fold-norm-scales)
// DEFAULT: func.func(fold-norm-scales){{.*}}edge-quantize-weights

// Columns of [n, k], rows of [k, n]; a weight that two layers read is scaled once.
// CHECK-LABEL: func.func @main
// CHECK-DAG: %[[NK:.*]] = edge.weight "nk" {value = dense_resource<nk.scaled>
// CHECK-DAG: %[[KN:.*]] = edge.weight "kn" {value = dense_resource<kn.scaled>
// CHECK: %[[Y:.*]] = edge.rms_norm %{{[^,]*}} {epsilon
// CHECK: edge.linear %[[Y]], %[[NK]]
// CHECK: edge.linear %[[Y]], %[[NK]]
// CHECK: edge.linear %[[Y]], %[[KN]]
// COMPILED: edge.rms_norm %{{[^,]*}} {epsilon
func.func @main(%x: tensor<1x2xf32>) -> (tensor<1x3xf32>, tensor<1x3xf32>, tensor<1x3xf32>) {
  %scale = edge.weight "scale" {value = dense<[2.0, 3.0]> : tensor<2xf32>} : tensor<2xf32>
  %nk = edge.weight "nk" {value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>} : tensor<3x2xf32>
  %kn = edge.weight "kn" {value = dense<1.0> : tensor<2x3xf32>} : tensor<2x3xf32>
  // expected-remark@+1 {{the scale went into 3 linear layers}}
  %y = edge.rms_norm %x, %scale : tensor<2xf32> {epsilon = 0.5 : f32} : tensor<1x2xf32> -> tensor<1x2xf32>
  %0 = edge.linear %y, %nk : tensor<1x2xf32>, tensor<3x2xf32> -> tensor<1x3xf32>
  %1 = edge.linear %y, %nk : tensor<1x2xf32>, tensor<3x2xf32> -> tensor<1x3xf32>
  %2 = edge.linear %y, %kn {layout = 1 : i32} : tensor<1x2xf32>, tensor<2x3xf32> -> tensor<1x3xf32>
  return %0, %1, %2 : tensor<1x3xf32>, tensor<1x3xf32>, tensor<1x3xf32>
}

// CHECK-LABEL: func.func @tied
// CHECK: edge.rms_norm %{{.*}}, %{{.*}} : tensor<2xf32>
func.func @tied(%x: tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>) {
  %scale = edge.weight "scale" {value = dense<[2.0, 3.0]> : tensor<2xf32>} : tensor<2xf32>
  %w = edge.weight "w" {value = dense<1.0> : tensor<2x2xf32>} : tensor<2x2xf32>
  // expected-remark@+1 {{the scale stays: weight 'w' of a linear behind it has other readers}}
  %y = edge.rms_norm %x, %scale : tensor<2xf32> {epsilon = 0.5 : f32} : tensor<1x2xf32> -> tensor<1x2xf32>
  %0 = edge.linear %y, %w : tensor<1x2xf32>, tensor<2x2xf32> -> tensor<1x2xf32>
  %1 = edge.linear %x, %w : tensor<1x2xf32>, tensor<2x2xf32> -> tensor<1x2xf32>
  return %0, %1 : tensor<1x2xf32>, tensor<1x2xf32>
}

// CHECK-LABEL: func.func @returned
// CHECK: edge.rms_norm %{{.*}}, %{{.*}} : tensor<2xf32>
func.func @returned(%x: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %scale = edge.weight "scale" {value = dense<[2.0, 3.0]> : tensor<2xf32>} : tensor<2xf32>
  // expected-remark@+1 {{the scale stays: 'func.return' reads its result, too}}
  %y = edge.rms_norm %x, %scale : tensor<2xf32> {epsilon = 0.5 : f32} : tensor<1x2xf32> -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

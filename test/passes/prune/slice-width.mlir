// RUN: edgecc-opt %s "--edge-slice-width=share=0.5 importance=magnitude compensation=none" 2>&1 | FileCheck %s

// By weights alone every second channel goes. The norm's scale goes into who reads it, and so does the root of two: the mean is over
// half the channels. A table that is the head's weight, too, stays one: a basis comes in front of the head.

// CHECK-DAG: remark: 'table': 16 of 32 channels of the stream that starts here are left, 256 to 128 bytes, relative error 0.1228
// CHECK-DAG: remark: 'reader': 16 of 32 channels of the stream that it reads are left, 256 to 128 bytes
// CHECK-DAG: remark: 'writer': 16 of 32 channels of the stream that it writes to are left, 256 to 128 bytes
// CHECK-DAG: remark: 'table.basis': 16 of 32 channels of the stream that it reads are left, 0 to 1024 bytes
// CHECK: edge.ledger = [{{.*}}scheme = "pruned width 32 to 16"
// CHECK: func.func @main
// CHECK: %[[TABLE:.*]] = edge.weight "table" {{.*}} : tensor<2x16xf32>
// CHECK: edge.weight "reader" {{.*}} : tensor<2x16xf32>
// CHECK: edge.weight "writer" {{.*}} : tensor<2x16xf32>
// CHECK: edge.embedding %{{.*}}, %[[TABLE]] {{.*}} -> tensor<3x16xf32>
// CHECK: edge.weight "scale" {value = dense<1.000000e+00> : tensor<16xf32>}
// CHECK: edge.rms_norm {{.*}}epsilon = 2.000000e-05 : f32
// CHECK: edge.linear {{.*}} -> tensor<3x2xf32>
// CHECK: edge.linear {{.*}} -> tensor<3x16xf32>
// CHECK: edge.weight "bias" {value = dense<[0.000000e+00, 2.000000e+00, 4.000000e+00, {{.*}}3.000000e+01]> : tensor<16xf32>}
// CHECK: %[[LAST:.*]] = edge.rms_norm
// CHECK: %[[BASIS:.*]] = edge.weight "table.basis" {{.*}} : tensor<16x16xf32>
// CHECK: %[[TURNED:.*]] = edge.linear %[[LAST]], %[[BASIS]]
// CHECK: edge.linear %[[TURNED]], %[[TABLE]] {{.*}} -> tensor<3x2xf32>
#id = affine_map<(d0, d1) -> (d0, d1)>
#last = affine_map<(d0, d1) -> (d1)>
func.func @main(%ids: tensor<3xi64>) -> tensor<3x2xf32> {
  %table = edge.weight "table" {value = dense<
          [[1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375],
          [4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125]]> : tensor<2x32xf32>} : tensor<2x32xf32>
  %scale = edge.weight "scale" {value = dense<
          [2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0]> : tensor<32xf32>} : tensor<32xf32>
  %reader = edge.weight "reader" {value = dense<
          [[4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125],
          [2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5]]> : tensor<2x32xf32>} : tensor<2x32xf32>
  %writer = edge.weight "writer" {value = dense<
          [[2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5],
          [5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25, 4.0, 0.125, 3.0, 0.625, 2.0, 0.5, 1.0, 0.375, 5.0, 0.25]]> : tensor<2x32xf32>} : tensor<2x32xf32>
  %bias = edge.weight "bias" {value = dense<
          [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0, 20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0, 28.0, 29.0, 30.0, 31.0]> : tensor<32xf32>} : tensor<32xf32>
  %x = edge.embedding %ids, %table : tensor<3xi64>, tensor<2x32xf32> -> tensor<3x32xf32>
  %n = edge.rms_norm %x, %scale : tensor<32xf32> {epsilon = 1.0e-5 : f32} : tensor<3x32xf32> -> tensor<3x32xf32>
  %h = edge.linear %n, %reader : tensor<3x32xf32>, tensor<2x32xf32> -> tensor<3x2xf32>
  %w = edge.linear %h, %writer {layout = 1 : i32} : tensor<3x2xf32>, tensor<2x32xf32> -> tensor<3x32xf32>
  %empty = tensor.empty() : tensor<3x32xf32>
  %b = linalg.generic {indexing_maps = [#id, #last, #id], iterator_types = ["parallel", "parallel"]} ins(%w, %bias : tensor<3x32xf32>, tensor<32xf32>) outs(%empty : tensor<3x32xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
    %sum = arith.addf %p, %q : f32
    linalg.yield %sum : f32
  } -> tensor<3x32xf32>
  %s = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %b : tensor<3x32xf32>, tensor<3x32xf32>) outs(%empty : tensor<3x32xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
    %sum = arith.addf %p, %q : f32
    linalg.yield %sum : f32
  } -> tensor<3x32xf32>
  %l = edge.rms_norm %s {epsilon = 1.0e-5 : f32} : tensor<3x32xf32> -> tensor<3x32xf32>
  %y = edge.linear %l, %table : tensor<3x32xf32>, tensor<2x32xf32> -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

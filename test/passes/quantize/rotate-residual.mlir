// RUN: edgecc-opt %s --edge-rotate-residual --verify-diagnostics --split-input-file | FileCheck %s

// The stream has two channels: the matrix is (1 1; 1 -1) / sqrt(2), with a sign for each row. The norm's scale, 2 and 4, goes into what
// reads it; a bias is turned like the rows of its layer.
// CHECK-LABEL: module @stream
// CHECK-DAG: %[[TABLE:.*]] = edge.weight "table"
// CHECK-DAG: %[[ONES:.*]] = edge.weight "scale" {value = dense<1.000000e+00> : tensor<2xf32>}
// CHECK-DAG: %[[READER:.*]] = edge.weight "reader"
// CHECK-DAG: %[[WRITER:.*]] = edge.weight "writer"
// CHECK-DAG: %[[BIAS:.*]] = edge.weight "bias" {value = dense<[0.000000e+00, -1.41421354]>
// CHECK: %[[X:.*]] = edge.embedding %{{.*}}, %[[TABLE]]
// CHECK: %[[N:.*]] = edge.rms_norm %[[X]], %[[ONES]]
// CHECK: edge.linear %[[N]], %[[READER]]
// CHECK: edge.linear %{{.*}}, %[[WRITER]]
#id = affine_map<(d0, d1) -> (d0, d1)>
#last = affine_map<(d0, d1) -> (d1)>
module @stream {
  // expected-remark @below {{the residual stream of 2 channels is rotated: 1 layers write to it, 2 read it}}
  func.func @main(%ids: tensor<3xi64>) -> tensor<3x2xf32> {
    %table = edge.weight "table" {value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>} : tensor<2x2xf32>
    %scale = edge.weight "scale" {value = dense<[2.0, 4.0]> : tensor<2xf32>} : tensor<2xf32>
    %reader = edge.weight "reader" {value = dense<[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]> : tensor<3x2xf32>} : tensor<3x2xf32>
    %writer = edge.weight "writer" {value = dense<[[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]]> : tensor<2x3xf32>} : tensor<2x3xf32>
    %bias = edge.weight "bias" {value = dense<[1.0, 1.0]> : tensor<2xf32>} : tensor<2xf32>
    %head = edge.weight "head" {value = dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>} : tensor<2x2xf32>
    %x = edge.embedding %ids, %table : tensor<3xi64>, tensor<2x2xf32> -> tensor<3x2xf32>
    %n = edge.rms_norm %x, %scale : tensor<2xf32> {epsilon = 1.0e-5 : f32} : tensor<3x2xf32> -> tensor<3x2xf32>
    %h = edge.linear %n, %reader : tensor<3x2xf32>, tensor<3x2xf32> -> tensor<3x3xf32>
    %w = edge.linear %h, %writer : tensor<3x3xf32>, tensor<2x3xf32> -> tensor<3x2xf32>
    %empty = tensor.empty() : tensor<3x2xf32>
    %b = linalg.generic {indexing_maps = [#id, #last, #id], iterator_types = ["parallel", "parallel"]} ins(%w, %bias : tensor<3x2xf32>, tensor<2xf32>) outs(%empty : tensor<3x2xf32>) {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %sum = arith.addf %p, %q : f32
      linalg.yield %sum : f32
    } -> tensor<3x2xf32>
    %s = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %b : tensor<3x2xf32>, tensor<3x2xf32>) outs(%empty : tensor<3x2xf32>) {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %sum = arith.addf %p, %q : f32
      linalg.yield %sum : f32
    } -> tensor<3x2xf32>
    %y = edge.linear %s, %head : tensor<3x2xf32>, tensor<2x2xf32> -> tensor<3x2xf32>
    return %y : tensor<3x2xf32>
  }
}

// -----

// A mean is not the same after a rotation.
module @mean {
  // expected-error @below {{the residual stream cannot be rotated: edge.layer_norm 'the norm' reads the stream, and is neither a norm without mean, nor a linear, nor a sum}}
  func.func @main(%ids: tensor<3xi64>) -> tensor<3x2xf32> {
    %table = edge.weight "table" {value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>} : tensor<2x2xf32>
    %x = edge.embedding %ids, %table : tensor<3xi64>, tensor<2x2xf32> -> tensor<3x2xf32>
    %n = edge.layer_norm %x {epsilon = 1.0e-5 : f32} : tensor<3x2xf32> -> tensor<3x2xf32> loc("the norm")
    return %n : tensor<3x2xf32>
  }
}

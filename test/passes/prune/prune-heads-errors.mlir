// RUN: not edgecc-opt %s "--edge-prune-heads=share=0.5 importance=magnitude compensation=none" 2>&1 | FileCheck %s
// RUN: not edgecc-opt %s "--edge-prune-heads=share=0.5" 2>&1 | FileCheck %s --check-prefix=SAMPLES

// CHECK: remark: '' cannot be pruned: it has one KV head
// CHECK: remark: '' cannot be pruned: more than one op reads its result
// CHECK: remark: '' cannot be pruned: each head has a mask of its own
// CHECK: remark: '' cannot be pruned: its queries, keys or values are an input of the model
// CHECK: error: pruning found no attention whose heads can go:
// CHECK-NEXT: '': it has one KV head
// SAMPLES: error: pruning looks at what flows through the model: give it samples
func.func @main(%x: tensor<1x3x8xf32>, %other: tensor<1x3x2x4xf32>, %mask: tensor<1x2x3x3xf32>)
    -> (tensor<1x3x2x4xf32>, tensor<1x3x8xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>) {
  %wq = edge.weight "q" {value = dense<1.0> : tensor<8x8xf32>} : tensor<8x8xf32>
  %wk = edge.weight "k" {value = dense<1.0> : tensor<4x8xf32>} : tensor<4x8xf32>
  %q = edge.linear %x, %wq : tensor<1x3x8xf32>, tensor<8x8xf32> -> tensor<1x3x8xf32>
  %k = edge.linear %x, %wk : tensor<1x3x8xf32>, tensor<4x8xf32> -> tensor<1x3x4xf32>
  %q4 = edge.reshape %q : tensor<1x3x8xf32> -> tensor<1x3x2x4xf32>
  %k4 = edge.reshape %k : tensor<1x3x4xf32> -> tensor<1x3x1x4xf32>
  %one = edge.attention %q4, %k4, %k4 {scale = 1.0 : f32, length = affine_map<() -> (3)>, offset = affine_map<() -> (0)>}
      : tensor<1x3x2x4xf32>, tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32> -> tensor<1x3x2x4xf32>
  %two = edge.attention %q4, %q4, %q4 {scale = 1.0 : f32, length = affine_map<() -> (3)>, offset = affine_map<() -> (0)>}
      : tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32> -> tensor<1x3x2x4xf32>
  %flat = edge.reshape %two : tensor<1x3x2x4xf32> -> tensor<1x3x8xf32>
  %y = edge.linear %flat, %wq : tensor<1x3x8xf32>, tensor<8x8xf32> -> tensor<1x3x8xf32>
  %three = edge.attention %q4, %q4, %q4 mask(%mask : tensor<1x2x3x3xf32>) {scale = 1.0 : f32, length = affine_map<() -> (3)>, offset = affine_map<() -> (0)>}
      : tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32> -> tensor<1x3x2x4xf32>
  %four = edge.attention %other, %q4, %q4 {scale = 1.0 : f32, length = affine_map<() -> (3)>, offset = affine_map<() -> (0)>}
      : tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32> -> tensor<1x3x2x4xf32>
  return %two, %y, %three, %four : tensor<1x3x2x4xf32>, tensor<1x3x8xf32>, tensor<1x3x2x4xf32>, tensor<1x3x2x4xf32>
}

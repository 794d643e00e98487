// RUN: edgecc-opt %s --split-input-file --pass-pipeline='builtin.module(func.func(edge-lower-layers))' | FileCheck %s
// The linears of a group go with the first of them, and nobody looks at them again: freed memory is overwritten here.
// RUN: env MALLOC_PERTURB_=165 GLIBC_TUNABLES=glibc.malloc.tcache_count=0 edgecc-opt %s --split-input-file --pass-pipeline='builtin.module(func.func(edge-lower-layers))' -o /dev/null

// Query, key and value of one input: a step of as many tasks as all three have, after which the norm between them comes. A bias that
// stands too late is moved. 2048 + 2 * 1024 channels, 64 in a task.
// CHECK: #[[TASKS:.*]] = affine_map<() -> (64)>
// CHECK-LABEL: @attention_inputs
// CHECK-SAME: (%[[X:[^:]*]]: {{.*}}, %[[Q:[^:]*]]: {{.*}}, %[[K:[^:]*]]: {{.*}}, %[[V:[^:]*]]: {{[^)]*}})
// CHECK: %[[N:.*]] = edge.kernel "quantize"
// CHECK-NOT: edge.kernel "quantize"
// CHECK: %[[R:.*]]:3 = edge.kernel "linear" tasks #[[TASKS]] ins(%[[N]], %[[Q]], %[[K]], %[[V]] : {{.*}}) -> tensor<1x2048xf32>, tensor<1x1024xf32>, tensor<1x1024xf32>
// CHECK: edge.kernel "rms_norm"
// CHECK-NOT: edge.kernel "linear"
func.func @attention_inputs(%x: tensor<1x1024xf32>, %q: tensor<128x9216xi8>, %k: tensor<64x9216xi8>, %v: tensor<64x9216xi8>)
    -> (tensor<1x2048xf32>, tensor<1x1024xf32>, tensor<1x1024xf32>) {
  %0 = edge.linear %x, %q {layout = 2 : i32, quantization = #edge.quantization<bits = 4, group = 32, scale = f16, activations = token>} : tensor<1x1024xf32>, tensor<128x9216xi8> -> tensor<1x2048xf32>
  %1 = edge.rms_norm %0 {epsilon = 1.0e-06 : f32} : tensor<1x2048xf32> -> tensor<1x2048xf32>
  %2 = edge.linear %x, %k {layout = 2 : i32, quantization = #edge.quantization<bits = 4, group = 32, scale = f16, activations = token>} : tensor<1x1024xf32>, tensor<64x9216xi8> -> tensor<1x1024xf32>
  %3 = edge.linear %x, %v {layout = 2 : i32, quantization = #edge.quantization<bits = 4, group = 32, scale = f16, activations = token>} : tensor<1x1024xf32>, tensor<64x9216xi8> -> tensor<1x1024xf32>
  return %1, %2, %3 : tensor<1x2048xf32>, tensor<1x1024xf32>, tensor<1x1024xf32>
}

// -----

// A gated MLP: both products in one kernel, and only what comes of them is written.
// CHECK-LABEL: @gated
// CHECK: %{{.*}} = edge.kernel "linear" tasks #{{.*}} ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<1x32xf32>, tensor<2x32x16xf32>, tensor<2x32x16xf32>) -> tensor<1x32xf32>
// CHECK-NOT: edge.kernel "linear"
func.func @gated(%x: tensor<1x32xf32>, %gate: tensor<2x32x16xf32>, %up: tensor<2x32x16xf32>) -> tensor<1x32xf32> {
  %0 = edge.linear %x, %gate {layout = 2 : i32} : tensor<1x32xf32>, tensor<2x32x16xf32> -> tensor<1x32xf32>
  %1 = edge.linear %x, %up extras(%0 : tensor<1x32xf32>) {layout = 2 : i32} : tensor<1x32xf32>, tensor<2x32x16xf32> -> tensor<1x32xf32> {
  ^bb0(%s: f32, %g: f32):
    %2 = arith.mulf %s, %g : f32
    edge.yield %2 : f32
  }
  return %1 : tensor<1x32xf32>
}

// -----

// A product that somebody else reads, too, must be written; one that is read between has its own step.
// CHECK-LABEL: @apart
// CHECK-COUNT-3: edge.kernel "linear"
func.func @apart(%x: tensor<1x32xf32>, %z: tensor<1x32xf32>, %gate: tensor<2x32x16xf32>, %up: tensor<2x32x16xf32>) -> (tensor<1x32xf32>, tensor<1x32xf32>, tensor<1x32xf32>) {
  %0 = edge.linear %x, %gate {layout = 2 : i32} : tensor<1x32xf32>, tensor<2x32x16xf32> -> tensor<1x32xf32>
  %1 = edge.linear %x, %up extras(%0 : tensor<1x32xf32>) {layout = 2 : i32} : tensor<1x32xf32>, tensor<2x32x16xf32> -> tensor<1x32xf32> {
  ^bb0(%s: f32, %g: f32):
    %2 = arith.mulf %s, %g : f32
    edge.yield %2 : f32
  }
  %3 = edge.linear %z, %up {layout = 2 : i32} : tensor<1x32xf32>, tensor<2x32x16xf32> -> tensor<1x32xf32>
  return %0, %1, %3 : tensor<1x32xf32>, tensor<1x32xf32>, tensor<1x32xf32>
}

// RUN: edgecc-opt %s --split-input-file --pass-pipeline='builtin.module(func.func(edge-lower-layers))' | FileCheck %s

// Two linears want their input in one layout: the norm is done by what writes it.
// CHECK-LABEL: @norm
// CHECK-NOT: rms_norm"
// CHECK: %[[Q:.*]] = edge.kernel "rms_norm_quantize" {{.*}} ins(%{{.*}}, %{{.*}} : tensor<3x64xf32>, tensor<64xf32>) -> tensor<3x{{.*}}xi8>
// CHECK: math.sqrt
// CHECK: arith.fptosi
// CHECK: edge.kernel "linear" {{.*}} ins(%[[Q]]
// CHECK-NOT: edge.rms_norm
func.func @norm(%x: tensor<3x64xf32>, %scale: tensor<64xf32>, %w: tensor<1x1088xi8>) -> (tensor<3x16xf32>, tensor<3x16xf32>) {
  %n = edge.rms_norm %x, %scale : tensor<64xf32> {epsilon = 1.0e-6 : f32} : tensor<3x64xf32> -> tensor<3x64xf32>
  %a = edge.linear %n, %w {layout = 2 : i32, quantization = #edge.quantization<bits = 8, group = 0, scale = f32, activations = token>} : tensor<3x64xf32>, tensor<1x1088xi8> -> tensor<3x16xf32>
  %b = edge.linear %n, %w {layout = 2 : i32, quantization = #edge.quantization<bits = 8, group = 0, scale = f32, activations = token>} : tensor<3x64xf32>, tensor<1x1088xi8> -> tensor<3x16xf32>
  return %a, %b : tensor<3x16xf32>, tensor<3x16xf32>
}

// -----

// Somebody else reads the norm: it is a kernel.
// CHECK-LABEL: @residual
// CHECK: %[[N:.*]] = edge.kernel "layer_norm"
// CHECK: edge.kernel "quantize" {{.*}} ins(%[[N]]
// CHECK: return %{{.*}}, %[[N]]
func.func @residual(%x: tensor<3x64xf32>, %scale: tensor<64xf32>, %w: tensor<1x1088xi8>) -> (tensor<3x16xf32>, tensor<3x64xf32>) {
  %n = edge.layer_norm %x {epsilon = 1.0e-6 : f32} : tensor<3x64xf32> -> tensor<3x64xf32>
  %a = edge.linear %n, %w {layout = 2 : i32, quantization = #edge.quantization<bits = 8, group = 0, scale = f32, activations = token>} : tensor<3x64xf32>, tensor<1x1088xi8> -> tensor<3x16xf32>
  return %a, %n : tensor<3x16xf32>, tensor<3x64xf32>
}

// -----

// A float linear reads its input again and again.
// CHECK-LABEL: @floats
// CHECK: edge.kernel "rms_norm"
// CHECK: edge.kernel "linear"
func.func @floats(%x: tensor<3x64xf32>, %w: tensor<1x64x16xf32>) -> tensor<3x16xf32> {
  %n = edge.rms_norm %x {epsilon = 1.0e-6 : f32} : tensor<3x64xf32> -> tensor<3x64xf32>
  %a = edge.linear %n, %w {layout = 2 : i32} : tensor<3x64xf32>, tensor<1x64x16xf32> -> tensor<3x16xf32>
  return %a : tensor<3x16xf32>
}

// -----

// Keys: norm of a head, RoPE and the append are one kernel; queries: norm and RoPE.
// CHECK-LABEL: @heads
// CHECK-NOT: edge.kernel "rms_norm"
// CHECK: edge.kernel "rms_norm_rope_append" {{.*}} ins(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : tensor<1x1x2x32xf32>, tensor<32xf32>, tensor<1x1x16xf32>, tensor<1x1x16xf32>) inouts(%{{.*}} : tensor<1x2x64x32xf16>)
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<32xf32>
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<32xf32>
// CHECK: edge.kernel "rms_norm_rope"
// CHECK-NOT: edge.r
func.func @heads(%k: tensor<1x1x2x32xf32>, %q: tensor<1x1x4x32xf32>, %scale: tensor<32xf32>, %cos: tensor<1x1x16xf32>, %sin: tensor<1x1x16xf32>, %cache: tensor<1x2x64x32xf16>)
    -> (tensor<1x2x64x32xf16>, tensor<1x1x4x32xf32>) {
  %n = edge.rms_norm %k, %scale : tensor<32xf32> {epsilon = 1.0e-6 : f32} : tensor<1x1x2x32xf32> -> tensor<1x1x2x32xf32>
  %r = edge.rope %n, %cos, %sin : tensor<1x1x2x32xf32>, tensor<1x1x16xf32> -> tensor<1x1x2x32xf32>
  %filled = edge.append %cache, %r at affine_map<() -> (0)> : tensor<1x2x64x32xf16>, tensor<1x1x2x32xf32> -> tensor<1x2x64x32xf16>
  %m = edge.rms_norm %q, %scale : tensor<32xf32> {epsilon = 1.0e-6 : f32} : tensor<1x1x4x32xf32> -> tensor<1x1x4x32xf32>
  %s = edge.rope %m, %cos, %sin : tensor<1x1x4x32xf32>, tensor<1x1x16xf32> -> tensor<1x1x4x32xf32>
  return %filled, %s : tensor<1x2x64x32xf16>, tensor<1x1x4x32xf32>
}

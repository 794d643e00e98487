// RUN: edgecc-opt %s | edgecc-opt | FileCheck %s

// What is printed can be read again, and says the same.

#rows = affine_map<()[s0] -> (s0, 8)>
#cache = affine_map<()[s0, s1, s2] -> (1, 2, s2, 8)>
#heads = affine_map<()[s0] -> (1, s0, 4, 8)>
#new = affine_map<()[s0] -> (1, s0, 2, 8)>

// CHECK: edge.symbols = [#edge.symbol<"tokens", 1, 64, free>, #edge.symbol<"past", 0, 128, position>, #edge.symbol<"context", 1, 128, capacity>]
// CHECK-SAME: edge.target = #edge.target<"aarch64", ["dotprod", "fp16"]>
module attributes {edge.symbols = [#edge.symbol<"tokens", 1, 64, free>, #edge.symbol<"past", 0, 128, position>, #edge.symbol<"context", 1, 128, capacity>],
                   edge.target = #edge.target<"aarch64", ["dotprod", "fp16"]>} {

// CHECK-LABEL: @dim
// CHECK: edge.dim 1
func.func @dim() -> index {
  %0 = edge.dim 1
  return %0 : index
}

// CHECK-LABEL: @weight
// CHECK: edge.weight "table" {value = dense<1.000000e+00> : tensor<2x2xf32>} : tensor<2x2xf32>
func.func @weight() -> tensor<2x2xf32> {
  %0 = edge.weight "table" {value = dense<1.0> : tensor<2x2xf32>} : tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}

// CHECK-LABEL: @reshape
// CHECK: edge.reshape %{{.*}} : tensor<2x3xf32> -> tensor<6xf32>
func.func @reshape(%x: tensor<2x3xf32>) -> tensor<6xf32> {
  %0 = edge.reshape %x : tensor<2x3xf32> -> tensor<6xf32>
  return %0 : tensor<6xf32>
}

// CHECK-LABEL: @linear
// CHECK: edge.linear %{{.*}}, %{{.*}} : tensor<?x8xf32, #{{.*}}>, tensor<8x8xf32> -> tensor<?x8xf32, #{{.*}}>
// CHECK: edge.linear %{{.*}}, %{{.*}} extras(%{{.*}} : tensor<8xf32>) {layout = 1 : i32}
// CHECK-NEXT: ^bb0(%[[SUM:.*]]: f32, %[[BIAS:.*]]: f32):
// CHECK-NEXT: %[[Y:.*]] = arith.addf %[[SUM]], %[[BIAS]]
// CHECK-NEXT: edge.yield %[[Y]] : f32
func.func @linear(%x: tensor<?x8xf32, #rows>, %w: tensor<8x8xf32>, %b: tensor<8xf32>) -> tensor<?x8xf32, #rows> {
  %0 = edge.linear %x, %w : tensor<?x8xf32, #rows>, tensor<8x8xf32> -> tensor<?x8xf32, #rows>
  %1 = edge.linear %0, %w extras(%b : tensor<8xf32>) {layout = 1 : i32} : tensor<?x8xf32, #rows>, tensor<8x8xf32> -> tensor<?x8xf32, #rows> {
  ^bb0(%sum: f32, %bias: f32):
    %2 = arith.addf %sum, %bias : f32
    edge.yield %2 : f32
  }
  return %1 : tensor<?x8xf32, #rows>
}

// A lookup of rows of 64 numbers of 4 bits, and a product with the same table, whose input is rounded for each group.
// CHECK-LABEL: @quantized
// CHECK: edge.embedding %{{.*}}, %{{.*}} scales(%{{.*}} : tensor<16x2xf16>) zeros(%{{.*}} : tensor<16x2xi8>) {quantization = #edge.quantization<bits = 4, group = 32, scale = f16, zeros = true>} : tensor<1xi64>, tensor<16x2x16xi8> -> tensor<1x64xf32>
// CHECK: edge.linear %{{.*}}, %{{.*}} scales(%{{.*}} : tensor<16x2xf16>) zeros(%{{.*}} : tensor<16x2xi8>) {quantization = #edge.quantization<bits = 4, group = 32, scale = f16, zeros = true, activations = group>} : tensor<1x64xf32>, tensor<16x2x16xi8> -> tensor<1x16xf32>
func.func @quantized(%ids: tensor<1xi64>, %w: tensor<16x2x16xi8>, %s: tensor<16x2xf16>, %z: tensor<16x2xi8>) -> tensor<1x16xf32> {
  %0 = edge.embedding %ids, %w scales(%s : tensor<16x2xf16>) zeros(%z : tensor<16x2xi8>)
      {quantization = #edge.quantization<bits = 4, group = 32, scale = f16, zeros = true>} : tensor<1xi64>, tensor<16x2x16xi8> -> tensor<1x64xf32>
  %1 = edge.linear %0, %w scales(%s : tensor<16x2xf16>) zeros(%z : tensor<16x2xi8>)
      {quantization = #edge.quantization<bits = 4, group = 32, scale = f16, zeros = true, activations = group>} : tensor<1x64xf32>, tensor<16x2x16xi8> -> tensor<1x16xf32>
  return %1 : tensor<1x16xf32>
}

// Three input channels stay floats.
// CHECK-LABEL: @outliers
// CHECK: edge.linear %{{.*}}, %{{.*}} scales(%{{.*}} : tensor<16x1xf32>) outliers(%{{.*}}, %{{.*}} : tensor<3xi32>, tensor<16x3xf16>) {quantization
func.func @outliers(%x: tensor<1x64xf32>, %w: tensor<16x1x64xi8>, %s: tensor<16x1xf32>, %i: tensor<3xi32>, %o: tensor<16x3xf16>) -> tensor<1x16xf32> {
  %0 = edge.linear %x, %w scales(%s : tensor<16x1xf32>) outliers(%i, %o : tensor<3xi32>, tensor<16x3xf16>)
      {quantization = #edge.quantization<bits = 8, group = 0, scale = f32, activations = token>} : tensor<1x64xf32>, tensor<16x1x64xi8> -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}

// Rows go into the cache, and the attention reads all that is held: past + tokens.
// CHECK-LABEL: @append_and_attend
// CHECK: %[[K:.*]] = edge.append %{{.*}}, %{{.*}} at #{{.*}} : tensor<1x2x?x8xf32, #{{.*}}>, tensor<1x?x2x8xf32, #{{.*}}> -> tensor<1x2x?x8xf32, #{{.*}}>
// CHECK: edge.attention %{{.*}}, %[[K]], %[[K]] {causal = true, key_heads_first, length = #{{.*}}, offset = #{{.*}}, scale = 5.000000e-01 : f32, window = 32 : i64}
func.func @append_and_attend(%cache: tensor<1x2x?x8xf32, #cache>, %rows: tensor<1x?x2x8xf32, #new>, %q: tensor<1x?x4x8xf32, #heads>) -> tensor<1x?x4x8xf32, #heads> {
  %k = edge.append %cache, %rows at affine_map<()[s0, s1] -> (s1)> : tensor<1x2x?x8xf32, #cache>, tensor<1x?x2x8xf32, #new> -> tensor<1x2x?x8xf32, #cache>
  %0 = edge.attention %q, %k, %k {causal = true, key_heads_first, length = affine_map<()[s0, s1] -> (s1 + s0)>, offset = affine_map<()[s0, s1] -> (s1)>, scale = 0.5 : f32, window = 32 : i64}
      : tensor<1x?x4x8xf32, #heads>, tensor<1x2x?x8xf32, #cache>, tensor<1x2x?x8xf32, #cache> -> tensor<1x?x4x8xf32, #heads>
  return %0 : tensor<1x?x4x8xf32, #heads>
}

// A cache of 8 bits is two states.
// CHECK-LABEL: @quantized_cache
// CHECK: %[[K:.*]], %[[S:.*]] = edge.append %{{.*}}, %{{.*}} parts(%{{.*}} : tensor<1x2x32xf16>) at #{{.*}} {cache = #edge.cache<bits = 8, dim = 8>}
// CHECK: edge.attention %{{.*}}, %[[K]], %[[K]] key_parts(%[[S]] : tensor<1x2x32xf16>) value_parts(%[[S]] : tensor<1x2x32xf16>) {causal = true, key_cache = #edge.cache<bits = 8, dim = 8>
func.func @quantized_cache(%cache: tensor<1x2x32x8xi8>, %scales: tensor<1x2x32xf16>, %rows: tensor<1x5x2x8xf32>, %q: tensor<1x5x4x8xf32>) -> tensor<1x5x4x8xf32> {
  %k, %s = edge.append %cache, %rows parts(%scales : tensor<1x2x32xf16>) at affine_map<() -> (0)> {cache = #edge.cache<bits = 8, dim = 8>}
      : tensor<1x2x32x8xi8>, tensor<1x5x2x8xf32> -> tensor<1x2x32x8xi8>, tensor<1x2x32xf16>
  %0 = edge.attention %q, %k, %k key_parts(%s : tensor<1x2x32xf16>) value_parts(%s : tensor<1x2x32xf16>) {causal = true, key_heads_first, length = affine_map<() -> (5)>,
      offset = affine_map<() -> (0)>, scale = 0.5 : f32, key_cache = #edge.cache<bits = 8, dim = 8>, value_cache = #edge.cache<bits = 8, dim = 8>}
      : tensor<1x5x4x8xf32>, tensor<1x2x32x8xi8>, tensor<1x2x32x8xi8> -> tensor<1x5x4x8xf32>
  return %0 : tensor<1x5x4x8xf32>
}

// CHECK-LABEL: @masked_attention
// CHECK: edge.attention %{{.*}}, %{{.*}}, %{{.*}} mask(%{{.*}} : tensor<1x1x5x7xi1>) {{{.*}}softcap = 3.000000e+01 : f32}
func.func @masked_attention(%q: tensor<1x5x4x8xf32>, %k: tensor<1x7x2x8xf32>, %m: tensor<1x1x5x7xi1>) -> tensor<1x5x4x8xf32> {
  %0 = edge.attention %q, %k, %k mask(%m : tensor<1x1x5x7xi1>) {length = affine_map<() -> (7)>, offset = affine_map<() -> (0)>, scale = 0.5 : f32, softcap = 30.0 : f32}
      : tensor<1x5x4x8xf32>, tensor<1x7x2x8xf32>, tensor<1x7x2x8xf32> -> tensor<1x5x4x8xf32>
  return %0 : tensor<1x5x4x8xf32>
}

// CHECK-LABEL: @rope
// CHECK: edge.rope %{{.*}}, %{{.*}}, %{{.*}} {heads_first, interleaved} : tensor<1x2x5x8xf32>, tensor<1x5x4xf32> -> tensor<1x2x5x8xf32>
func.func @rope(%x: tensor<1x2x5x8xf32>, %c: tensor<1x5x4xf32>, %s: tensor<1x5x4xf32>) -> tensor<1x2x5x8xf32> {
  %0 = edge.rope %x, %c, %s {interleaved, heads_first} : tensor<1x2x5x8xf32>, tensor<1x5x4xf32> -> tensor<1x2x5x8xf32>
  return %0 : tensor<1x2x5x8xf32>
}

// Scale and bias may be missing, each alone.
// CHECK-LABEL: @norms
// CHECK: edge.rms_norm %{{.*}}, %{{.*}} : tensor<8xf32> {epsilon = 5.000000e-01 : f32}
// CHECK: edge.rms_norm %{{[^,]*}} {epsilon = 5.000000e-01 : f32}
// CHECK: edge.layer_norm %{{.*}} scale(%{{.*}} : tensor<8xf32>) bias(%{{.*}} : tensor<8xf32>)
// CHECK: edge.layer_norm %{{[^ ]*}} bias(%{{.*}} : tensor<8xf32>)
func.func @norms(%x: tensor<2x8xf32>, %g: tensor<8xf32>) -> tensor<2x8xf32> {
  %0 = edge.rms_norm %x, %g : tensor<8xf32> {epsilon = 0.5 : f32} : tensor<2x8xf32> -> tensor<2x8xf32>
  %1 = edge.rms_norm %0 {epsilon = 0.5 : f32} : tensor<2x8xf32> -> tensor<2x8xf32>
  %2 = edge.layer_norm %1 scale(%g : tensor<8xf32>) bias(%g : tensor<8xf32>) {epsilon = 0.5 : f32} : tensor<2x8xf32> -> tensor<2x8xf32>
  %3 = edge.layer_norm %2 bias(%g : tensor<8xf32>) {epsilon = 0.5 : f32} : tensor<2x8xf32> -> tensor<2x8xf32>
  return %3 : tensor<2x8xf32>
}

// CHECK-LABEL: @softmax
// CHECK: edge.softmax %{{.*}} : tensor<2x8xf32> -> tensor<2x8xf32>
// CHECK: edge.softmax %{{.*}} {log}
func.func @softmax(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %0 = edge.softmax %x : tensor<2x8xf32> -> tensor<2x8xf32>
  %1 = edge.softmax %0 {log} : tensor<2x8xf32> -> tensor<2x8xf32>
  return %1 : tensor<2x8xf32>
}

// CHECK-LABEL: @embedding
// CHECK: edge.embedding %{{.*}}, %{{.*}} : tensor<2x3xi64>, tensor<100x8xf32> -> tensor<2x3x8xf32>
func.func @embedding(%ids: tensor<2x3xi64>, %table: tensor<100x8xf32>) -> tensor<2x3x8xf32> {
  %0 = edge.embedding %ids, %table : tensor<2x3xi64>, tensor<100x8xf32> -> tensor<2x3x8xf32>
  return %0 : tensor<2x3x8xf32>
}

// A result that is an inout has its memory; the second one has its own.
// CHECK-LABEL: @kernel
// CHECK: %[[R:.*]]:2 = edge.kernel "both" tasks #{{.*}} ins(%{{.*}} : tensor<?x8xf32, #{{.*}}>) inouts(%{{.*}} : tensor<4xf32>) -> tensor<4xf32>, tensor<2xi1> {
// CHECK-NEXT: ^bb0(%{{.*}}: index, %{{.*}}: memref<?x8xf32>, %{{.*}}: memref<4xf32>, %{{.*}}: memref<2xi8>):
func.func @kernel(%x: tensor<?x8xf32, #rows>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<2xi1>) {
  %0:2 = edge.kernel "both" tasks affine_map<()[s0] -> (s0 ceildiv 4)> ins(%x : tensor<?x8xf32, #rows>) inouts(%y : tensor<4xf32>) -> tensor<4xf32>, tensor<2xi1> {
  ^bb0(%task: index, %in: memref<?x8xf32>, %inout: memref<4xf32>, %out: memref<2xi8>):
    edge.yield
  }
  return %0#0, %0#1 : tensor<4xf32>, tensor<2xi1>
}

// CHECK-LABEL: @exit
// CHECK: %[[SURE:.*]] = edge.confidence state of %{{.*}} after %{{.*}} : tensor<1x8xf32> : tensor<1x8xf32> -> tensor<1xf32>
// CHECK: edge.exit 1 if %[[SURE]] keeps %{{.*}} : tensor<1x1x4x8xf32> gives %{{.*}} : tensor<1xf32> -> tensor<1x8xf32>
func.func @exit(%x: tensor<1x8xf32>, %before: tensor<1x8xf32>, %kept: tensor<1x1x4x8xf32>) -> tensor<1x8xf32> {
  %sure = edge.confidence state of %x after %before : tensor<1x8xf32> : tensor<1x8xf32> -> tensor<1xf32>
  edge.exit 1 if %sure keeps %kept : tensor<1x1x4x8xf32> gives %x : tensor<1xf32> -> tensor<1x8xf32>
  return %before : tensor<1x8xf32>
}
}

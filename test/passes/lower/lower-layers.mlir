// RUN: edgecc-opt %s --split-input-file --pass-pipeline='builtin.module(func.func(edge-lower-layers))' | FileCheck %s

// Without a target: tiles of 4 x 16 in vectors of 4. 32 rows and one group of panels make a task.
// CHECK: #[[TASKS:.*]] = affine_map<()[s0] -> (s0 ceildiv 32)>
// CHECK-LABEL: @linear
// CHECK: edge.kernel "linear" tasks #[[TASKS]] ins(%{{.*}}, %{{.*}} : {{.*}}) -> tensor<?x16xf32
// CHECK-NEXT: ^bb0(%{{.*}}: index, %{{.*}}: memref<?x8xf32>, %{{.*}}: memref<1x8x16xf32>, %{{.*}}: memref<?x16xf32>):
// CHECK-COUNT-16: vector.fma %{{.*}} : vector<4xf32>
// CHECK-NOT: edge.linear
#x = affine_map<()[s0] -> (s0, 8)>
#y = affine_map<()[s0] -> (s0, 16)>
module attributes {edge.symbols = [#edge.symbol<"s", 1, 512, free>]} {
func.func @linear(%x: tensor<?x8xf32, #x>, %w: tensor<1x8x16xf32>) -> tensor<?x16xf32, #y> {
  %r = edge.linear %x, %w {layout = 2 : i32} : tensor<?x8xf32, #x>, tensor<1x8x16xf32> -> tensor<?x16xf32, #y>
  return %r : tensor<?x16xf32, #y>
}
}

// -----

// NEON multiplies by a lane of four activations that were loaded at once.
// CHECK-LABEL: @neon
// CHECK: vector.load %{{.*}} : memref<512xf32>, vector<4xf32>
// CHECK: %[[LANE:.*]] = vector.extract %{{.*}}[0] : f32 from vector<4xf32>
// CHECK: vector.broadcast %[[LANE]] : f32 to vector<4xf32>
module attributes {edge.target = #edge.target<"aarch64">} {
func.func @neon(%x: tensor<8x64xf32>, %w: tensor<1x64x16xf32>) -> tensor<8x16xf32> {
  %r = edge.linear %x, %w {layout = 2 : i32} : tensor<8x64xf32>, tensor<1x64x16xf32> -> tensor<8x16xf32>
  return %r : tensor<8x16xf32>
}
}

// -----

// One row, AVX-512: no taller tile is emitted, and f16 weights widen as they come in.
// CHECK-LABEL: @decode
// CHECK: vector.load %{{.*}} : memref<4096xf16>, vector<16xf16>
// CHECK: arith.extf %{{.*}} : vector<16xf16> to vector<16xf32>
// CHECK-COUNT-8: vector.fma %{{.*}} : vector<16xf32>
// CHECK-NOT: vector.fma
module attributes {edge.target = #edge.target<"x86_64", ["avx2", "avx512"]>} {
func.func @decode(%x: tensor<1x64xf32>, %w: tensor<4x64x16xf16>) -> tensor<1x64xf32> {
  %r = edge.linear %x, %w {layout = 2 : i32} : tensor<1x64xf32>, tensor<4x64x16xf16> -> tensor<1x64xf32>
  return %r : tensor<1x64xf32>
}
}

// -----

// An epilogue of elementwise ops is applied to whole vectors.
// CHECK-LABEL: @epilogue
// CHECK: %[[B:.*]] = vector.load %{{.*}} : memref<16xf32>, vector<4xf32>
// CHECK: %[[S:.*]] = arith.addf %{{.*}}, %[[B]] : vector<4xf32>
// CHECK: math.tanh %[[S]] : vector<4xf32>
func.func @epilogue(%x: tensor<1x8xf32>, %w: tensor<1x8x16xf32>, %b: tensor<16xf32>) -> tensor<1x16xf32> {
  %r = edge.linear %x, %w extras(%b : tensor<16xf32>) {layout = 2 : i32} : tensor<1x8xf32>, tensor<1x8x16xf32> -> tensor<1x16xf32> {
  ^bb0(%s: f32, %c: f32):
    %0 = arith.addf %s, %c : f32
    %1 = math.tanh %0 : f32
    edge.yield %1 : f32
  }
  return %r : tensor<1x16xf32>
}

// -----

// A task of attention is one KV head with its group of query heads: 2 x 4 of them for one token.
// CHECK: #[[TASKS:.*]] = affine_map<() -> (8)>
// CHECK-LABEL: @attention
// CHECK: edge.kernel "attention" tasks #[[TASKS]]
// Scores of 3 heads for 64 keys, never more, whatever the length is.
// CHECK-COUNT-3: memref.alloca() {alignment = 64 : i64} : memref<192xf32>
func.func @attention(%q: tensor<2x12x1x64xf32>, %k: tensor<2x4x128x64xf32>, %v: tensor<2x4x128x64xf32>) -> tensor<2x12x1x64xf32> {
  %r = edge.attention %q, %k, %v {scale = 0.125 : f32, length = affine_map<() -> (100)>, offset = affine_map<() -> (99)>, causal = true,
    query_heads_first, key_heads_first, result_heads_first} : tensor<2x12x1x64xf32>, tensor<2x4x128x64xf32>, tensor<2x4x128x64xf32> -> tensor<2x12x1x64xf32>
  return %r : tensor<2x12x1x64xf32>
}

// -----

// A state is written in place.
// CHECK-LABEL: @append
// CHECK-SAME: (%[[S:.*]]: tensor<1x2x128x64xf16>, %[[R:.*]]: tensor<1x1x2x64xf32>)
// CHECK: edge.kernel "append" tasks #{{.*}} ins(%[[R]] : {{.*}}) inouts(%[[S]] : {{.*}}) -> tensor<1x2x128x64xf16>
func.func @append(%s: tensor<1x2x128x64xf16>, %x: tensor<1x1x2x64xf32>) -> tensor<1x2x128x64xf16> {
  %r = edge.append %s, %x at affine_map<() -> (7)> : tensor<1x2x128x64xf16>, tensor<1x1x2x64xf32> -> tensor<1x2x128x64xf16>
  return %r : tensor<1x2x128x64xf16>
}

// RUN: not edgecc-opt %s "--edge-prune-layers=count=3" 2>&1 | FileCheck %s --check-prefix=ALL
// RUN: not edgecc-opt %s "--edge-prune-layers=which=3" 2>&1 | FileCheck %s --check-prefix=WHICH
// RUN: not edgecc-opt %s "--edge-prune-layers=count=1" 2>&1 | FileCheck %s --check-prefix=SAMPLES
// RUN: not edgecc-opt %S/prune-channels-errors.mlir "--edge-prune-layers=count=1" 2>&1 | FileCheck %s --check-prefix=NONE

// ALL: error: pruning layers: of the model's 3 layers, 3 cannot go: at least one goes and at least one stays
// WHICH: error: pruning layers: the model has layers 0 to 2, not 3
// SAMPLES: error: pruning layers: which ones matter least is seen in what flows through the model: give it samples with --calibrate FILE
// NONE: error: pruning layers: no attention was recognised in the model, so it is not known where its layers are

#cache = affine_map<()[s0, s1, s2] -> (1, 1, s2, 8)>
#rows = affine_map<()[s0, s1, s2] -> (1, s0, 1, 8)>
#x = affine_map<()[s0, s1, s2] -> (1, s0, 8)>
#ids = affine_map<()[s0, s1, s2] -> (1, s0)>
module attributes {edge.symbols = [#edge.symbol<"sequence", 1, 8, free>, #edge.symbol<"past", 0, 63, position>, #edge.symbol<"context", 1, 64, capacity>]} {
  func.func @main(%ids: tensor<1x?xi64, #ids> {edge.name = "ids", edge.element = "i64"}, %key0: tensor<1x1x?x8xf32, #cache> {edge.name = "key0", edge.element = "f32", edge.state = 0}, %key1: tensor<1x1x?x8xf32, #cache> {edge.name = "key1", edge.element = "f32", edge.state = 1}, %key2: tensor<1x1x?x8xf32, #cache> {edge.name = "key2", edge.element = "f32", edge.state = 2})
      -> (tensor<1x?x8xf32, #x> {edge.name = "y", edge.element = "f32"}, tensor<1x1x?x8xf32, #cache> {edge.state = 0}, tensor<1x1x?x8xf32, #cache> {edge.state = 1}, tensor<1x1x?x8xf32, #cache> {edge.state = 2}) {
    %table = edge.weight "table" {value = dense<1.0> : tensor<32x8xf32>} : tensor<32x8xf32>
    %e = edge.embedding %ids, %table : tensor<1x?xi64, #ids>, tensor<32x8xf32> -> tensor<1x?x8xf32, #x>
    %sequence = edge.dim 0
    %empty = tensor.empty(%sequence) : tensor<1x?x8xf32, #x>
    %w0 = edge.weight "w0" {value = dense<0.5> : tensor<8x8xf32>} : tensor<8x8xf32>
    %n0 = edge.rms_norm %e {epsilon = 1.0e-5 : f32} : tensor<1x?x8xf32, #x> -> tensor<1x?x8xf32, #x>
    %q0 = edge.linear %n0, %w0 : tensor<1x?x8xf32, #x>, tensor<8x8xf32> -> tensor<1x?x8xf32, #x>
    %h0 = edge.reshape %q0 : tensor<1x?x8xf32, #x> -> tensor<1x?x1x8xf32, #rows>
    %k0 = edge.append %key0, %h0 at affine_map<()[s0, s1, s2] -> (s1)> : tensor<1x1x?x8xf32, #cache>, tensor<1x?x1x8xf32, #rows> -> tensor<1x1x?x8xf32, #cache>
    %a0 = edge.attention %h0, %k0, %k0 {scale = 1.0 : f32, length = affine_map<()[s0, s1, s2] -> (s0 + s1)>, offset = affine_map<()[s0, s1, s2] -> (s1)>, causal = true, key_heads_first} : tensor<1x?x1x8xf32, #rows>, tensor<1x1x?x8xf32, #cache>, tensor<1x1x?x8xf32, #cache> -> tensor<1x?x1x8xf32, #rows>
    %f0 = edge.reshape %a0 : tensor<1x?x1x8xf32, #rows> -> tensor<1x?x8xf32, #x>
    %s0 = linalg.generic {indexing_maps = [affine_map<(i, j, k) -> (i, j, k)>, affine_map<(i, j, k) -> (i, j, k)>, affine_map<(i, j, k) -> (i, j, k)>], iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%e, %f0 : tensor<1x?x8xf32, #x>, tensor<1x?x8xf32, #x>) outs(%empty : tensor<1x?x8xf32, #x>) {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %t = arith.addf %p, %q : f32
      linalg.yield %t : f32
    } -> tensor<1x?x8xf32, #x>
    %w1 = edge.weight "w1" {value = dense<1.5> : tensor<8x8xf32>} : tensor<8x8xf32>
    %n1 = edge.rms_norm %s0 {epsilon = 1.0e-5 : f32} : tensor<1x?x8xf32, #x> -> tensor<1x?x8xf32, #x>
    %q1 = edge.linear %n1, %w1 : tensor<1x?x8xf32, #x>, tensor<8x8xf32> -> tensor<1x?x8xf32, #x>
    %h1 = edge.reshape %q1 : tensor<1x?x8xf32, #x> -> tensor<1x?x1x8xf32, #rows>
    %k1 = edge.append %key1, %h1 at affine_map<()[s0, s1, s2] -> (s1)> : tensor<1x1x?x8xf32, #cache>, tensor<1x?x1x8xf32, #rows> -> tensor<1x1x?x8xf32, #cache>
    %a1 = edge.attention %h1, %k1, %k1 {scale = 1.0 : f32, length = affine_map<()[s0, s1, s2] -> (s0 + s1)>, offset = affine_map<()[s0, s1, s2] -> (s1)>, causal = true, key_heads_first} : tensor<1x?x1x8xf32, #rows>, tensor<1x1x?x8xf32, #cache>, tensor<1x1x?x8xf32, #cache> -> tensor<1x?x1x8xf32, #rows>
    %f1 = edge.reshape %a1 : tensor<1x?x1x8xf32, #rows> -> tensor<1x?x8xf32, #x>
    %s1 = linalg.generic {indexing_maps = [affine_map<(i, j, k) -> (i, j, k)>, affine_map<(i, j, k) -> (i, j, k)>, affine_map<(i, j, k) -> (i, j, k)>], iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%s0, %f1 : tensor<1x?x8xf32, #x>, tensor<1x?x8xf32, #x>) outs(%empty : tensor<1x?x8xf32, #x>) {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %t = arith.addf %p, %q : f32
      linalg.yield %t : f32
    } -> tensor<1x?x8xf32, #x>
    %w2 = edge.weight "w2" {value = dense<2.5> : tensor<8x8xf32>} : tensor<8x8xf32>
    %n2 = edge.rms_norm %s1 {epsilon = 1.0e-5 : f32} : tensor<1x?x8xf32, #x> -> tensor<1x?x8xf32, #x>
    %q2 = edge.linear %n2, %w2 : tensor<1x?x8xf32, #x>, tensor<8x8xf32> -> tensor<1x?x8xf32, #x>
    %h2 = edge.reshape %q2 : tensor<1x?x8xf32, #x> -> tensor<1x?x1x8xf32, #rows>
    %k2 = edge.append %key2, %h2 at affine_map<()[s0, s1, s2] -> (s1)> : tensor<1x1x?x8xf32, #cache>, tensor<1x?x1x8xf32, #rows> -> tensor<1x1x?x8xf32, #cache>
    %a2 = edge.attention %h2, %k2, %k2 {scale = 1.0 : f32, length = affine_map<()[s0, s1, s2] -> (s0 + s1)>, offset = affine_map<()[s0, s1, s2] -> (s1)>, causal = true, key_heads_first} : tensor<1x?x1x8xf32, #rows>, tensor<1x1x?x8xf32, #cache>, tensor<1x1x?x8xf32, #cache> -> tensor<1x?x1x8xf32, #rows>
    %f2 = edge.reshape %a2 : tensor<1x?x1x8xf32, #rows> -> tensor<1x?x8xf32, #x>
    %s2 = linalg.generic {indexing_maps = [affine_map<(i, j, k) -> (i, j, k)>, affine_map<(i, j, k) -> (i, j, k)>, affine_map<(i, j, k) -> (i, j, k)>], iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%s1, %f2 : tensor<1x?x8xf32, #x>, tensor<1x?x8xf32, #x>) outs(%empty : tensor<1x?x8xf32, #x>) {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %t = arith.addf %p, %q : f32
      linalg.yield %t : f32
    } -> tensor<1x?x8xf32, #x>
    %y = edge.rms_norm %s2 {epsilon = 1.0e-5 : f32} : tensor<1x?x8xf32, #x> -> tensor<1x?x8xf32, #x>
    return %y, %k0, %k1, %k2 : tensor<1x?x8xf32, #x>, tensor<1x1x?x8xf32, #cache>, tensor<1x1x?x8xf32, #cache>, tensor<1x1x?x8xf32, #cache>
  }
}

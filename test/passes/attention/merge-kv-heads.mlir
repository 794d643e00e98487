// RUN: edgecc-opt %s --edge-merge-kv-heads=heads=exact --split-input-file 2>&1 | FileCheck %s

// The second head's keys are twice the first one's, and its values are the sum and the difference of the first one's: the query takes the
// factor, Wo the map, and the cache holds one head.
// CHECK: remark: {{.*}}attention 'scores': 2 to 1 KV heads (exact), error of its output 0.0000
// CHECK: remark: KV cache of the changed layers: 32 to 16 bytes per token
// CHECK: edge.ledger = [{bytes_after = 16 : i64, bytes_before = 32 : i64, {{.*}}layer = "scores", scheme = "kv-heads=1 (exact)", weight = "wk"}]
// CHECK-LABEL: func.func @main
// CHECK-SAME: tensor<1x1x?x2xf32, {{[^>]*}}> {edge.element = "f32", edge.name = "past.key", edge.state = 0 : i64}
// CHECK-SAME: tensor<1x1x?x2xf32, {{[^>]*}}> {edge.element = "f32", edge.name = "past.value", edge.state = 1 : i64}
// CHECK: edge.weight "wq" {{.*}} : tensor<4x4xf32>
// CHECK: edge.weight "wk" {{.*}} : tensor<2x4xf32>
// CHECK: edge.weight "wv" {{.*}} : tensor<2x4xf32>
// CHECK: edge.append {{.*}} : tensor<1x1x?x2xf32, {{.*}}>, tensor<1x?x1x2xf32
// CHECK: edge.attention {{.*}} : tensor<1x?x2x2xf32, {{.*}}>, tensor<1x1x?x2xf32, {{.*}}>, tensor<1x1x?x2xf32, {{.*}}> -> tensor<1x?x2x2xf32
// The rows of the query, as little-endian floats: 1 2 3 4 | 0 1 0 1 for the first head, and twice that for the second.
// CHECK: wq: "0x400000000000803F000000400000404000008040000000000000803F000000000000803F00000040000080400000C0400000004100000000000000400000000000000040"
#x = affine_map<()[s0, s1, s2] -> (1, s0, 4)>
#h = affine_map<()[s0, s1, s2] -> (1, s0, 2, 2)>
#c = affine_map<()[s0, s1, s2] -> (1, 2, s2, 2)>
#at = affine_map<()[s0, s1, s2] -> (s1)>
module attributes {edge.symbols = [#edge.symbol<"sequence", 1, 8, free>, #edge.symbol<"past", 0, 7, position>, #edge.symbol<"context", 1, 8, capacity>]} {
  func.func @main(%x: tensor<1x?x4xf32, #x> {edge.name = "x", edge.element = "f32"},
                  %kc: tensor<1x2x?x2xf32, #c> {edge.name = "past.key", edge.element = "f32", edge.state = 0},
                  %vc: tensor<1x2x?x2xf32, #c> {edge.name = "past.value", edge.element = "f32", edge.state = 1})
      -> (tensor<1x?x4xf32, #x> {edge.name = "y", edge.element = "f32"},
          tensor<1x2x?x2xf32, #c> {edge.name = "past.key", edge.element = "f32", edge.state = 0},
          tensor<1x2x?x2xf32, #c> {edge.name = "past.value", edge.element = "f32", edge.state = 1}) {
    %wq = edge.weight "wq" {value = dense<[[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0], [1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0]]> : tensor<4x4xf32>} : tensor<4x4xf32>
    %wk = edge.weight "wk" {value = dense<[[1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 3.0, 1.0], [2.0, 4.0, 0.0, 2.0], [0.0, 2.0, 6.0, 2.0]]> : tensor<4x4xf32>} : tensor<4x4xf32>
    %wv = edge.weight "wv" {value = dense<[[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, -1.0, -1.0, 1.0]]> : tensor<4x4xf32>} : tensor<4x4xf32>
    %wo = edge.weight "wo" {value = dense<[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]> : tensor<4x4xf32>} : tensor<4x4xf32>
    %q = edge.linear %x, %wq : tensor<1x?x4xf32, #x>, tensor<4x4xf32> -> tensor<1x?x4xf32, #x>
    %k = edge.linear %x, %wk : tensor<1x?x4xf32, #x>, tensor<4x4xf32> -> tensor<1x?x4xf32, #x>
    %v = edge.linear %x, %wv : tensor<1x?x4xf32, #x>, tensor<4x4xf32> -> tensor<1x?x4xf32, #x>
    %qh = edge.reshape %q : tensor<1x?x4xf32, #x> -> tensor<1x?x2x2xf32, #h>
    %kh = edge.reshape %k : tensor<1x?x4xf32, #x> -> tensor<1x?x2x2xf32, #h>
    %vh = edge.reshape %v : tensor<1x?x4xf32, #x> -> tensor<1x?x2x2xf32, #h>
    %kn = edge.append %kc, %kh at #at : tensor<1x2x?x2xf32, #c>, tensor<1x?x2x2xf32, #h> -> tensor<1x2x?x2xf32, #c>
    %vn = edge.append %vc, %vh at #at : tensor<1x2x?x2xf32, #c>, tensor<1x?x2x2xf32, #h> -> tensor<1x2x?x2xf32, #c>
    %z = edge.attention %qh, %kn, %vn {scale = 1.0 : f32, length = affine_map<()[s0, s1, s2] -> (s0 + s1)>, offset = #at, causal = true, key_heads_first} : tensor<1x?x2x2xf32, #h>, tensor<1x2x?x2xf32, #c>, tensor<1x2x?x2xf32, #c> -> tensor<1x?x2x2xf32, #h> loc("scores")
    %flat = edge.reshape %z : tensor<1x?x2x2xf32, #h> -> tensor<1x?x4xf32, #x>
    %y = edge.linear %flat, %wo : tensor<1x?x4xf32, #x>, tensor<4x4xf32> -> tensor<1x?x4xf32, #x>
    return %y, %kn, %vn : tensor<1x?x4xf32, #x>, tensor<1x2x?x2xf32, #c>, tensor<1x2x?x2xf32, #c>
  }
}

// -----

// A layer that makes query, key and value at once is taken apart; heads that are different stay.
// CHECK-LABEL: module
// CHECK: edge.linear {{.*}} -> tensor<4x12xf32>
// CHECK: edge.attention {{.*}} : tensor<1x4x2x2xf32>, tensor<1x4x2x2xf32>
func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %w = edge.weight "qkv" {value = dense<[[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0], [1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0],
                                         [1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 3.0, 1.0], [2.0, 4.0, 5.0, 2.0], [0.0, 2.0, 6.0, 3.0],
                                         [1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, -1.0, -1.0, 1.0]]> : tensor<12x4xf32>} : tensor<12x4xf32>
  %wo = edge.weight "wo" {value = dense<[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]> : tensor<4x4xf32>} : tensor<4x4xf32>
  %qkv = edge.linear %x, %w : tensor<4x4xf32>, tensor<12x4xf32> -> tensor<4x12xf32>
  %empty = tensor.empty() : tensor<4x4xf32>
  %q = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} outs(%empty : tensor<4x4xf32>) {
  ^bb0(%out: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %e = tensor.extract %qkv[%i, %j] : tensor<4x12xf32>
    linalg.yield %e : f32
  } -> tensor<4x4xf32>
  %k = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} outs(%empty : tensor<4x4xf32>) {
  ^bb0(%out: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %four = arith.constant 4 : index
    %at = arith.addi %j, %four : index
    %e = tensor.extract %qkv[%i, %at] : tensor<4x12xf32>
    linalg.yield %e : f32
  } -> tensor<4x4xf32>
  %v = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} outs(%empty : tensor<4x4xf32>) {
  ^bb0(%out: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %eight = arith.constant 8 : index
    %at = arith.addi %j, %eight : index
    %e = tensor.extract %qkv[%i, %at] : tensor<4x12xf32>
    linalg.yield %e : f32
  } -> tensor<4x4xf32>
  %qh = edge.reshape %q : tensor<4x4xf32> -> tensor<1x4x2x2xf32>
  %kh = edge.reshape %k : tensor<4x4xf32> -> tensor<1x4x2x2xf32>
  %vh = edge.reshape %v : tensor<4x4xf32> -> tensor<1x4x2x2xf32>
  %z = edge.attention %qh, %kh, %vh {scale = 1.0 : f32, length = affine_map<() -> (4)>, offset = affine_map<() -> (0)>} : tensor<1x4x2x2xf32>, tensor<1x4x2x2xf32>, tensor<1x4x2x2xf32> -> tensor<1x4x2x2xf32>
  %flat = edge.reshape %z : tensor<1x4x2x2xf32> -> tensor<4x4xf32>
  %y = edge.linear %flat, %wo : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

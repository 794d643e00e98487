// RUN: not edgecc-opt %s --edge-quantize-cache=type=int5 2>&1 | FileCheck %s --check-prefix=WORD
// RUN: not edgecc-opt %s --edge-quantize-cache=type=int4 2>&1 | FileCheck %s --check-prefix=SIZE
// RUN: edgecc-opt %s --edge-quantize-cache=type=int8 | FileCheck %s --check-prefix=ANY
// RUN: echo 'func.func @main() { return }' | not edgecc-opt --edge-quantize-cache=type=int8 2>&1 | FileCheck %s --check-prefix=NONE

// WORD: error: type: 'int5' is no type of a cache; write f32, f16, int8 or int4
// SIZE: error: the cache past.key has heads of 12 numbers; int4 wants a multiple of 8, int8 takes any
// ANY: #edge.cache<bits = 8, dim = 12>
// NONE: error: the model has no KV cache that a session keeps and attention alone reads: there is nothing to keep as int8 (--remarks says why a cache was not recognised)
func.func @main(%q: tensor<1x1x2x12xf32>, %k: tensor<1x1x2x12xf32>, %keys: tensor<1x2x64x12xf32> {edge.state = 0 : i64, edge.name = "past.key", edge.element = "f32"})
    -> (tensor<1x1x2x12xf32>, tensor<1x2x64x12xf32> {edge.state = 0 : i64}) {
  %0 = edge.append %keys, %k at affine_map<() -> (0)> : tensor<1x2x64x12xf32>, tensor<1x1x2x12xf32> -> tensor<1x2x64x12xf32>
  %1 = edge.attention %q, %0, %0 {key_heads_first, length = affine_map<() -> (1)>, offset = affine_map<() -> (0)>, scale = 0.5 : f32}
      : tensor<1x1x2x12xf32>, tensor<1x2x64x12xf32>, tensor<1x2x64x12xf32> -> tensor<1x1x2x12xf32>
  return %1, %0 : tensor<1x1x2x12xf32>, tensor<1x2x64x12xf32>
}

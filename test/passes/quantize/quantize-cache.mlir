// RUN: edgecc-opt %s --edge-quantize-cache | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: edgecc-opt %s --edge-quantize-cache=type=f16 | FileCheck %s --check-prefixes=CHECK,F16
// RUN: edgecc-opt %s --edge-quantize-cache=type=int4 | FileCheck %s --check-prefixes=CHECK,INT4
// RUN: edgecc-opt %s --edge-quantize-cache 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK
#cache = affine_map<()[s0, s1, s2] -> (1, 2, s2, 8)>
#rows = affine_map<()[s0] -> (1, s0, 2, 8)>
#query = affine_map<()[s0] -> (1, s0, 4, 8)>

// 2 heads of 8 numbers of 4 bytes at context 64; a number is a byte, and a row has a scale of two; of 4 bits there are 64 / 32 groups
// and 13 rows for recent tokens, each of 2 heads and 16 * 8 bytes, and for each group 8 (by token: 32) scales and least numbers in f16.
// CHECK: edge.ledger = [
// INT8-SAME: {bytes_after = 1280 : i64, bytes_before = 4096 : i64, cache = "past.key", scheme = "int8"}
// F16-SAME: {bytes_after = 2048 : i64, bytes_before = 4096 : i64, cache = "past.key", scheme = "f16"}
// INT4-SAME: {bytes_after = 3968 : i64, bytes_before = 4096 : i64, cache = "past.key", scheme = "int4"}
// INT4-SAME: {bytes_after = 4352 : i64, bytes_before = 4096 : i64, cache = "past.value", scheme = "int4"}
module attributes {edge.symbols = [#edge.symbol<"sequence", 1, 16, free>, #edge.symbol<"past", 0, 64, position>, #edge.symbol<"context", 1, 64, capacity>]} {

// REMARK: remark: the cache past.other stays as it is: others than attention read it
// REMARK: remark: cache 'past.key': int8, 4096 to 1280 bytes at the longest context

// Numbers and scales are states, numbered as they stand; what else reads a cache wants it as it was.
// CHECK-LABEL: @main
// INT8-SAME: %arg3: tensor<1x2x?x8xi8, #{{.*}}> {edge.element = "i8", edge.name = "past.key", edge.state = 0 : i64}
// INT8-SAME: %arg4: tensor<1x2x?xf16, #{{.*}}> {edge.element = "f16", edge.name = "past.key.scales", edge.state = 1 : i64}
// INT8-SAME: edge.name = "past.value", edge.state = 2 : i64}
// INT8-SAME: edge.name = "past.value.scales", edge.state = 3 : i64}
// INT8-SAME: %arg7: tensor<1x2x?x8xf32, #{{.*}}> {edge.element = "f32", edge.name = "past.other", edge.state = 4 : i64}
// F16-SAME: %arg3: tensor<1x2x?x8xf16, #{{.*}}> {edge.element = "f16", edge.name = "past.key", edge.state = 0 : i64}
// INT4-SAME: %arg3: tensor<1x2x?x128xi8, #{{.*}}> {edge.element = "i8", edge.name = "past.key", edge.state = 0 : i64}
// INT4-SAME: %arg4: tensor<1x2x?x16xf16, #{{.*}}> {edge.element = "f16", edge.name = "past.key.scales", edge.state = 1 : i64}
// INT4-SAME: %arg5: tensor<1x2x?x128xi8, #{{.*}}> {edge.element = "i8", edge.name = "past.value", edge.state = 2 : i64}
// INT4-SAME: %arg6: tensor<1x2x?x64xf16, #{{.*}}> {edge.element = "f16", edge.name = "past.value.scales", edge.state = 3 : i64}
func.func @main(%q: tensor<1x?x4x8xf32, #query>, %k: tensor<1x?x2x8xf32, #rows>, %v: tensor<1x?x2x8xf32, #rows>,
    %keys: tensor<1x2x?x8xf32, #cache> {edge.state = 0 : i64, edge.name = "past.key", edge.element = "f32"},
    %values: tensor<1x2x?x8xf32, #cache> {edge.state = 1 : i64, edge.name = "past.value", edge.element = "f32"},
    %other: tensor<1x2x?x8xf32, #cache> {edge.state = 2 : i64, edge.name = "past.other", edge.element = "f32"})
    -> (tensor<1x?x4x8xf32, #query>, tensor<1x2x?x8xf32, #cache>, tensor<1x2x?x8xf32, #cache> {edge.state = 0 : i64},
        tensor<1x2x?x8xf32, #cache> {edge.state = 1 : i64}, tensor<1x2x?x8xf32, #cache> {edge.state = 2 : i64}) {
  // INT8: %[[K:.*]], %[[KS:.*]] = edge.append %arg3, %arg1 parts(%arg4 : {{.*}}) at #{{.*}} {cache = #edge.cache<bits = 8, dim = 8>}
  // INT4: %[[K:.*]], %[[KS:.*]] = edge.append %arg3, %arg1 parts(%arg4 : {{.*}}) at #{{.*}} {cache = #edge.cache<bits = 4, dim = 8, form = channel>}
  %0 = edge.append %keys, %k at affine_map<()[s0, s1] -> (s1)> : tensor<1x2x?x8xf32, #cache>, tensor<1x?x2x8xf32, #rows> -> tensor<1x2x?x8xf32, #cache>
  // INT8: %[[V:.*]], %[[VS:.*]] = edge.append %arg5, %arg2 parts(%arg6 :
  // INT4: %[[V:.*]], %[[VS:.*]] = edge.append %arg5, %arg2 {{.*}} {cache = #edge.cache<bits = 4, dim = 8>}
  %1 = edge.append %values, %v at affine_map<()[s0, s1] -> (s1)> : tensor<1x2x?x8xf32, #cache>, tensor<1x?x2x8xf32, #rows> -> tensor<1x2x?x8xf32, #cache>
  %2 = edge.append %other, %v at affine_map<()[s0, s1] -> (s1)> : tensor<1x2x?x8xf32, #cache>, tensor<1x?x2x8xf32, #rows> -> tensor<1x2x?x8xf32, #cache>
  %3 = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%2 : tensor<1x2x?x8xf32, #cache>) outs(%2 : tensor<1x2x?x8xf32, #cache>) {
  ^bb0(%a: f32, %b: f32):
    linalg.yield %a : f32
  } -> tensor<1x2x?x8xf32, #cache>
  // INT8: edge.attention %arg0, %[[K]], %[[V]] key_parts(%[[KS]] : {{.*}}) value_parts(%[[VS]] : {{.*}}) {{{.*}}key_cache = #edge.cache<bits = 8, dim = 8>{{.*}}value_cache = #edge.cache<bits = 8, dim = 8>}
  // INT4: edge.attention %arg0, %[[K]], %[[V]] key_parts(%[[KS]] : {{.*}}) value_parts(%[[VS]] :
  // F16: edge.attention {{.*}} tensor<1x2x?x8xf16, #{{.*}}>, tensor<1x2x?x8xf16, #{{.*}}> ->
  %4 = edge.attention %q, %0, %1 {causal = true, key_heads_first, length = affine_map<()[s0, s1] -> (s1 + s0)>, offset = affine_map<()[s0, s1] -> (s1)>, scale = 0.5 : f32}
      : tensor<1x?x4x8xf32, #query>, tensor<1x2x?x8xf32, #cache>, tensor<1x2x?x8xf32, #cache> -> tensor<1x?x4x8xf32, #query>
  // INT8: return %{{.*}}, %{{.*}}, %[[K]], %[[KS]], %[[V]], %[[VS]], %
  return %4, %3, %0, %1, %2 : tensor<1x?x4x8xf32, #query>, tensor<1x2x?x8xf32, #cache>, tensor<1x2x?x8xf32, #cache>, tensor<1x2x?x8xf32, #cache>, tensor<1x2x?x8xf32, #cache>
}
}

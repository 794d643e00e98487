// RUN: edgecc-opt %s --edge-specialize-entries --split-input-file | FileCheck %s

// A model with a cache gets two entries. In decode there is one token: sizes, masks' positions and operands that said so are gone.
// CHECK-DAG: #[[ANY:.*]] = affine_map<()[s0] -> (s0, 8)>
// CHECK-DAG: #[[TOTAL:.*]] = affine_map<()[s0, s1] -> (s0 + s1)>
// CHECK-DAG: #[[TOTAL_OF_ONE:.*]] = affine_map<()[s0, s1] -> (s1 + 1)>
// CHECK-DAG: #[[ONE:.*]] = affine_map<() -> (1)>
// CHECK-DAG: #[[N:.*]] = affine_map<()[s0] -> (s0)>
// CHECK-LABEL: func.func @prefill
// CHECK-SAME: (%{{.*}}: tensor<?x8xf32, #[[ANY]]>) -> (tensor<?x8xf32, #[[ANY]]>, tensor<?xi64, #{{.*}}>) attributes {edge.advance = #[[N]]}
// CHECK: %[[D:.*]] = edge.dim 0
// CHECK: tensor.empty(%[[D]]) : tensor<?x8xf32, #[[ANY]]>
// CHECK-LABEL: func.func @decode
// CHECK-SAME: (%{{.*}}: tensor<1x8xf32>) -> (tensor<1x8xf32>, tensor<?xi64, #[[TOTAL_OF_ONE]]>) attributes {edge.advance = #[[ONE]]}
// CHECK-NOT: edge.dim 0
// CHECK: tensor.empty() : tensor<1x8xf32>
// CHECK: %[[PAST:.*]] = edge.dim 1
// CHECK: tensor.empty(%{{.*}}) : tensor<?xi64, #[[TOTAL_OF_ONE]]>
module attributes {edge.symbols = [#edge.symbol<"tokens", 1, 64, free>, #edge.symbol<"past", 0, 128, position>, #edge.symbol<"context", 1, 128, capacity>]} {
func.func @main(%x: tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>)
    -> (tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>, tensor<?xi64, affine_map<()[s0, s1] -> (s0 + s1)>>) attributes {edge.advance = affine_map<()[s0] -> (s0)>} {
  %d = edge.dim 0
  %e = tensor.empty(%d) : tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>
  %p = edge.dim 1
  %t = arith.addi %d, %p : index
  %f = tensor.empty(%t) : tensor<?xi64, affine_map<()[s0, s1] -> (s0 + s1)>>
  return %e, %f : tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>, tensor<?xi64, affine_map<()[s0, s1] -> (s0 + s1)>>
}
}

// -----

// A kernel that is there already goes on seeing the buffers that it was written for.
// CHECK-LABEL: func.func @decode
// CHECK: edge.kernel {{.*}} -> tensor<1x8xf32> {
// CHECK-NEXT: ^bb0(%{{.*}}: index, %[[IN:.*]]: memref<1x8xf32>, %[[OUT:.*]]: memref<1x8xf32>):
// CHECK-DAG: %[[WIDE:.*]] = memref.cast %[[OUT]] : memref<1x8xf32> to memref<?x8xf32>
// CHECK: memref.store %{{.*}}, %[[WIDE]]
module attributes {edge.symbols = [#edge.symbol<"tokens", 1, 64, free>]} {
func.func @main(%x: tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>) -> tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>> attributes {edge.advance = affine_map<()[s0] -> (s0)>} {
  %0 = edge.kernel "first" tasks affine_map<()[s0] -> (s0)> ins(%x : tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>) -> tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>> {
  ^bb0(%task: index, %in: memref<?x8xf32>, %out: memref<?x8xf32>):
    %zero = arith.constant 0 : index
    %v = memref.load %in[%task, %zero] : memref<?x8xf32>
    memref.store %v, %out[%task, %zero] : memref<?x8xf32>
  }
  return %0 : tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>
}
}

// -----

// A cache, but a call has one token anyway: one entry.
// CHECK-NOT: @prefill
// CHECK: func.func @decode
// CHECK-NOT: func.func
module {
func.func @main(%x: tensor<1xf32>) -> tensor<1xf32> attributes {edge.advance = affine_map<() -> (1)>} {
  return %x : tensor<1xf32>
}
}

// -----

// Without a cache nothing changes.
// CHECK-LABEL: func.func @main
// CHECK-NOT: func.func
module {
func.func @main(%x: tensor<1xf32>) -> tensor<1xf32> {
  return %x : tensor<1xf32>
}
}

// -----

// Of a prompt only the logits of the last token are wanted: the cut goes up through head, norm, residual and the views between them,
// to what mixes tokens, here the argument %mixed and the kernel behind %more. The whole is there as a third entry. Hidden states
// come for all tokens.
// CHECK-LABEL: func.func @prefill
// CHECK-SAME: (%[[MIXED:[^:]*]]: {{.*}}) -> (tensor<1x1x32xf32>, tensor<1x?x8xf32, #{{.*}}>)
// CHECK: %[[N:.*]] = edge.dim 0
// CHECK: %[[LAST:.*]] = arith.addi %[[N]], %c-1
// CHECK: tensor.extract %[[MIXED]][%{{.*}}, %[[LAST]], %{{.*}}]
// CHECK: %[[SUM:.*]] = linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<1x1x8xf32>, tensor<1x1x8xf32>)
// CHECK: %[[NORM:.*]] = edge.rms_norm %[[SUM]], %{{.*}} : tensor<8xf32> {{.*}} : tensor<1x1x8xf32> -> tensor<1x1x8xf32>
// CHECK: %[[FLAT:.*]] = edge.reshape %[[NORM]] : tensor<1x1x8xf32> -> tensor<1x8xf32>
// CHECK: %[[HEAD:.*]] = edge.linear %[[FLAT]], %{{.*}} : tensor<1x8xf32>, tensor<32x8xf32> -> tensor<1x32xf32>
// CHECK: %[[LOGITS:.*]] = edge.reshape %[[HEAD]] : tensor<1x32xf32> -> tensor<1x1x32xf32>
// CHECK: return %[[LOGITS]], %{{.*}}
// CHECK-LABEL: func.func @decode
// CHECK-LABEL: func.func @score
// CHECK-SAME: -> (tensor<1x?x32xf32, #{{.*}}>, tensor<1x?x8xf32, #{{.*}}>)
// CHECK: edge.linear %{{.*}} : tensor<?x8xf32, #{{.*}}>, tensor<32x8xf32> -> tensor<?x32xf32, #{{.*}}>
#one = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
module attributes {edge.symbols = [#edge.symbol<"tokens", 1, 64, free>]} {
func.func @main(%mixed: tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>, %scale: tensor<8xf32>, %w: tensor<32x8xf32>)
    -> (tensor<1x?x32xf32, affine_map<()[s0] -> (1, s0, 32)>>, tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>) attributes {edge.advance = affine_map<()[s0] -> (s0)>} {
  %more = edge.kernel "mix" tasks affine_map<() -> (1)> ins(%mixed : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>) -> tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>> {
  ^bb0(%task: index, %in: memref<1x?x8xf32>, %out: memref<1x?x8xf32>):
  }
  %d = edge.dim 0
  %e = tensor.empty(%d) : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>
  %sum = linalg.generic {indexing_maps = [#one, #one, #one], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%mixed, %more : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>, tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>)
      outs(%e : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>
  %norm = edge.rms_norm %sum, %scale : tensor<8xf32> {epsilon = 1.0e-6 : f32} : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>> -> tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>
  %flat = edge.reshape %norm : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>> -> tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>
  %head = edge.linear %flat, %w : tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>, tensor<32x8xf32> -> tensor<?x32xf32, affine_map<()[s0] -> (s0, 32)>>
  %logits = edge.reshape %head : tensor<?x32xf32, affine_map<()[s0] -> (s0, 32)>> -> tensor<1x?x32xf32, affine_map<()[s0] -> (1, s0, 32)>>
  return %logits, %norm : tensor<1x?x32xf32, affine_map<()[s0] -> (1, s0, 32)>>, tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>
}
}

// -----

// What a cache needs of every token is not computed again for the last one.
// CHECK-LABEL: func.func @prefill
// CHECK: %[[STREAM:.*]] = edge.linear %{{.*}} : tensor<1x?x8xf32, #{{.*}}>, tensor<8x8xf32> -> tensor<1x?x8xf32, #{{.*}}>
// CHECK: tensor.extract %[[STREAM]]
// CHECK-DAG: edge.linear %[[STREAM]], %{{.*}} -> tensor<1x?x8xf32, #{{.*}}>
// CHECK-DAG: %[[TOP:.*]] = edge.linear %{{.*}} : tensor<1x1x8xf32>, tensor<8x8xf32> -> tensor<1x1x8xf32>
// CHECK: edge.linear %[[TOP]], %{{.*}} : tensor<1x1x8xf32>, tensor<32x8xf32> -> tensor<1x1x32xf32>
// CHECK-NOT: edge.linear
// CHECK-LABEL: func.func @decode
module attributes {edge.symbols = [#edge.symbol<"tokens", 1, 64, free>, #edge.symbol<"past", 0, 128, position>, #edge.symbol<"context", 1, 128, capacity>]} {
func.func @main(%x: tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>, %cache: tensor<1x1x?x8xf32, affine_map<()[s0, s1, s2] -> (1, 1, s2, 8)>> {edge.state = 0 : i64},
                %w: tensor<8x8xf32>, %head: tensor<32x8xf32>)
    -> (tensor<1x?x32xf32, affine_map<()[s0] -> (1, s0, 32)>>, tensor<1x1x?x8xf32, affine_map<()[s0, s1, s2] -> (1, 1, s2, 8)>> {edge.state = 0 : i64}) attributes {edge.advance = affine_map<()[s0] -> (s0)>} {
  %stream = edge.linear %x, %w : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>, tensor<8x8xf32> -> tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>
  %key = edge.linear %stream, %w : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>, tensor<8x8xf32> -> tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>
  %rows = edge.reshape %key : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>> -> tensor<1x?x1x8xf32, affine_map<()[s0] -> (1, s0, 1, 8)>>
  %filled = edge.append %cache, %rows at affine_map<()[s0, s1] -> (s1)> : tensor<1x1x?x8xf32, affine_map<()[s0, s1, s2] -> (1, 1, s2, 8)>>, tensor<1x?x1x8xf32, affine_map<()[s0] -> (1, s0, 1, 8)>> -> tensor<1x1x?x8xf32, affine_map<()[s0, s1, s2] -> (1, 1, s2, 8)>>
  %top = edge.linear %stream, %w : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>, tensor<8x8xf32> -> tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>
  %logits = edge.linear %top, %head : tensor<1x?x8xf32, affine_map<()[s0] -> (1, s0, 8)>>, tensor<32x8xf32> -> tensor<1x?x32xf32, affine_map<()[s0] -> (1, s0, 32)>>
  return %logits, %filled : tensor<1x?x32xf32, affine_map<()[s0] -> (1, s0, 32)>>, tensor<1x1x?x8xf32, affine_map<()[s0, s1, s2] -> (1, 1, s2, 8)>>
}
}

// -----

// Inputs that are only checked are those of the entry: one token at the position of the session.
// CHECK-DAG: #[[ROW:.*]] = affine_map<()[s0] -> (1, s0)>
// CHECK-DAG: #[[CELL:.*]] = affine_map<() -> (1, 1)>
// CHECK-DAG: #[[ALL:.*]] = affine_map<()[s0, s1] -> (s0 + s1)>
// CHECK-DAG: #[[ALL_OF_ONE:.*]] = affine_map<()[s0, s1] -> (s1 + 1)>
// CHECK: func.func @prefill
// CHECK-SAME: edge.checked = [{element = "i64", name = "ends", shape = #[[ROW]], values = {equal = #[[ALL]]}}]
// CHECK: func.func @decode
// CHECK-SAME: edge.checked = [{element = "i64", name = "ends", shape = #[[CELL]], values = {equal = #[[ALL_OF_ONE]]}}]
module attributes {edge.symbols = [#edge.symbol<"tokens", 1, 64, free>, #edge.symbol<"past", 0, 128, position>, #edge.symbol<"context", 1, 128, capacity>]} {
func.func @main(%x: tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>) -> tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>
    attributes {edge.advance = affine_map<()[s0] -> (s0)>,
                edge.checked = [{name = "ends", element = "i64", shape = affine_map<()[s0] -> (1, s0)>, values = {equal = affine_map<()[s0, s1] -> (s0 + s1)>}}]} {
  return %x : tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>
}
}

// -----

// The shapes need two tokens at once: there is no entry for one.
// CHECK: func.func @prefill
// CHECK-NOT: @decode
module attributes {edge.symbols = [#edge.symbol<"tokens", 2, 64, free>]} {
func.func @main(%x: tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>) -> tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>> attributes {edge.advance = affine_map<()[s0] -> (s0)>} {
  return %x : tensor<?x8xf32, affine_map<()[s0] -> (s0, 8)>>
}
}

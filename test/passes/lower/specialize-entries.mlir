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

// RUN: edgecc-opt %s --pass-pipeline='builtin.module(func.func(edge-lower-generics))' | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
#channel = affine_map<(d0, d1) -> (0, d1)>
#turned = affine_map<(d0, d1) -> (d1, d0)>
#id1 = affine_map<(d0) -> (d0)>
#s = affine_map<()[s0] -> (s0, 20)>
#s1 = affine_map<()[s0] -> (s0)>
module attributes {edge.symbols = [#edge.symbol<"s", 1, 512, free>]} {

// Operands in the same order: one loop over all elements, whatever the rank, in tasks of 16384.
// CHECK-DAG: #[[ONE:.*]] = affine_map<() -> (1)>
// CHECK-DAG: #[[TASKS:.*]] = affine_map<()[s0] -> ((s0 * 20) ceildiv 16384)>
// CHECK-LABEL: @flat
// CHECK: edge.kernel "loops" tasks #[[TASKS]] ins(%{{.*}}, %{{.*}} : tensor<?x20xf32, #{{.*}}>, tensor<?x20xf32, #{{.*}}>) -> tensor<?x20xf32, #{{.*}}> {
// CHECK-NEXT: ^bb0(%[[TASK:.*]]: index, %[[X:.*]]: memref<?x20xf32>, %[[Y:.*]]: memref<?x20xf32>, %[[Z:.*]]: memref<?x20xf32>):
// CHECK-NEXT: memref.collapse_shape %[[X]] {{\[\[}}0, 1]]
// CHECK-NEXT: memref.collapse_shape %[[Y]] {{\[\[}}0, 1]]
// CHECK: scf.for
// CHECK-NOT: scf.for
// CHECK: memref.store
func.func @flat(%x: tensor<?x20xf32, #s>, %y: tensor<?x20xf32, #s>) -> tensor<?x20xf32, #s> {
  %d = edge.dim 0
  %e = tensor.empty(%d) : tensor<?x20xf32, #s>
  %0 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%x, %y : tensor<?x20xf32, #s>, tensor<?x20xf32, #s>) outs(%e : tensor<?x20xf32, #s>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %1 = arith.addf %a, %b : f32
    linalg.yield %1 : f32
  } -> tensor<?x20xf32, #s>
  return %0 : tensor<?x20xf32, #s>
}

// Rows are spread over tasks, 819 of 20 elements each; the columns stay whole, as the loop to be vectorized.
// CHECK-LABEL: @transposed
// CHECK: %[[ROWS:.*]] = arith.constant 819
// CHECK: %[[BEGIN:.*]] = arith.muli %{{.*}}, %[[ROWS]]
// CHECK: scf.for %[[I:.*]] = %[[BEGIN]]
// CHECK: scf.for %[[J:.*]] = %{{.*}} to %c20
// CHECK-NEXT: %[[V:.*]] = memref.load %{{.*}}[%[[J]], %[[I]]] : memref<20x4096xf32>
// CHECK-NEXT: memref.store %[[V]], %{{.*}}[%[[I]], %[[J]]] : memref<4096x20xf32>
func.func @transposed(%x: tensor<20x4096xf32>) -> tensor<4096x20xf32> {
  %e = tensor.empty() : tensor<4096x20xf32>
  %0 = linalg.generic {indexing_maps = [#turned, #id], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<20x4096xf32>) outs(%e : tensor<4096x20xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<4096x20xf32>
  return %0 : tensor<4096x20xf32>
}

// The sum stays in a register, and starts from what the output was filled with; nothing is filled.
// CHECK-LABEL: @reduction
// CHECK-NOT: linalg.fill
// CHECK: scf.for %[[I:.*]] =
// CHECK: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK: %[[SUM:.*]] = scf.for {{.*}} iter_args(%{{.*}} = %[[ZERO]]) -> (f32)
// CHECK: memref.store %[[SUM]], %{{.*}}[%[[I]]]
func.func @reduction(%x: tensor<?x20xf32, #s>) -> tensor<?xf32, #s1> {
  %d = edge.dim 0
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty(%d) : tensor<?xf32, #s1>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?xf32, #s1>) -> tensor<?xf32, #s1>
  %0 = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<?x20xf32, #s>) outs(%f : tensor<?xf32, #s1>) {
  ^bb0(%a: f32, %o: f32):
    %1 = arith.addf %o, %a : f32
    linalg.yield %1 : f32
  } -> tensor<?xf32, #s1>
  return %0 : tensor<?xf32, #s1>
}

// An output that holds values is read, never written: the result has memory of its own.
// CHECK-LABEL: @accumulate_onto_a_tensor
// CHECK-SAME: %[[X:.*]]: tensor<4x20xf32>, %[[START:.*]]: tensor<4xf32>
// CHECK: edge.kernel {{.*}} ins(%[[X]], %[[START]] :
// CHECK-NEXT: ^bb0(%{{.*}}: index, %{{.*}}: memref<4x20xf32>, %[[FROM:.*]]: memref<4xf32>, %[[TO:.*]]: memref<4xf32>):
// CHECK: %[[FIRST:.*]] = memref.load %[[FROM]]
// CHECK: %[[MOST:.*]] = scf.for {{.*}} iter_args(%{{.*}} = %[[FIRST]])
// CHECK: memref.store %[[MOST]], %[[TO]]
func.func @accumulate_onto_a_tensor(%x: tensor<4x20xf32>, %start: tensor<4xf32>) -> tensor<4xf32> {
  %0 = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<4x20xf32>) outs(%start : tensor<4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %1 = arith.maximumf %o, %a : f32
    linalg.yield %1 : f32
  } -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// Nothing is parallel: one task.
// CHECK-LABEL: @reduce_all
// CHECK: edge.kernel "loops" tasks #[[ONE]] ins
// CHECK: memref.store %{{.*}}, %{{.*}}[] : memref<f32>
func.func @reduce_all(%x: tensor<4096xf32>) -> tensor<f32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<f32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<f32>) -> tensor<f32>
  %0 = linalg.generic {indexing_maps = [#id1, affine_map<(d0) -> ()>], iterator_types = ["reduction"]}
      ins(%x : tensor<4096xf32>) outs(%f : tensor<f32>) {
  ^bb0(%a: f32, %o: f32):
    %1 = arith.addf %o, %a : f32
    linalg.yield %1 : f32
  } -> tensor<f32>
  return %0 : tensor<f32>
}

// A size of 1 is read at 0 again and again.
// CHECK-LABEL: @broadcast
// CHECK: %[[ZERO:.*]] = affine.apply #{{.*}}(%{{.*}}, %[[J:.*]])
// CHECK-NEXT: memref.load %{{.*}}[%[[ZERO]], %[[J]]] : memref<1x20xf32>
func.func @broadcast(%x: tensor<?x20xf32, #s>, %bias: tensor<1x20xf32>) -> tensor<?x20xf32, #s> {
  %d = edge.dim 0
  %e = tensor.empty(%d) : tensor<?x20xf32, #s>
  %0 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel"]}
      ins(%x, %bias : tensor<?x20xf32, #s>, tensor<1x20xf32>) outs(%e : tensor<?x20xf32, #s>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %1 = arith.addf %a, %b : f32
    linalg.yield %1 : f32
  } -> tensor<?x20xf32, #s>
  return %0 : tensor<?x20xf32, #s>
}

// A tensor that the body extracts from is an input like others, and an index is what the loop counts.
// CHECK-LABEL: @gather
// CHECK-SAME: %[[TABLE:.*]]: tensor<100xf32>, %[[IDS:.*]]: tensor<8xi64>
// CHECK: edge.kernel {{.*}} ins(%[[IDS]], %[[TABLE]] :
// CHECK-NEXT: ^bb0(%{{.*}}: index, %[[I:.*]]: memref<8xi64>, %[[T:.*]]: memref<100xf32>, %{{.*}}: memref<8xf32>):
// CHECK: %[[ID:.*]] = memref.load %[[I]]
// CHECK: %[[AT:.*]] = arith.index_cast %[[ID]]
// CHECK: memref.load %[[T]][%[[AT]]]
func.func @gather(%table: tensor<100xf32>, %ids: tensor<8xi64>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8xf32>
  %0 = linalg.generic {indexing_maps = [#id1], iterator_types = ["parallel"]} outs(%e : tensor<8xf32>) {
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %id = tensor.extract %ids[%i] : tensor<8xi64>
    %at = arith.index_cast %id : i64 to index
    %1 = tensor.extract %table[%at] : tensor<100xf32>
    linalg.yield %1 : f32
  } -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// In memory a bool is a byte, 0 or 1; whatever is not 0 reads as true.
// CHECK-LABEL: @bool
// CHECK: %[[BYTE:.*]] = memref.load %{{.*}} : memref<8xi8>
// CHECK: %[[A:.*]] = arith.cmpi ne, %[[BYTE]], %c0_i8 : i8
// CHECK: %[[R:.*]] = arith.andi %[[A]], %{{.*}} : i1
// CHECK: %[[OUT:.*]] = arith.extui %[[R]] : i1 to i8
// CHECK: memref.store %[[OUT]], %{{.*}} : memref<8xi8>
func.func @bool(%x: tensor<8xi1>, %y: tensor<8xf32>) -> tensor<8xi1> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8xi1>
  %0 = linalg.generic {indexing_maps = [#id1, #id1, #id1], iterator_types = ["parallel"]}
      ins(%x, %y : tensor<8xi1>, tensor<8xf32>) outs(%e : tensor<8xi1>) {
  ^bb0(%a: i1, %b: f32, %o: i1):
    %1 = arith.cmpf olt, %b, %zero : f32
    %2 = arith.andi %a, %1 : i1
    linalg.yield %2 : i1
  } -> tensor<8xi1>
  return %0 : tensor<8xi1>
}

// A maximum and where it is: two results in one pass.
// CHECK-LABEL: @two_results
// CHECK: %[[R:.*]]:2 = scf.for {{.*}} -> (f32, i64)
// CHECK: memref.store %[[R]]#0, %{{.*}} : memref<4xf32>
// CHECK: memref.store %[[R]]#1, %{{.*}} : memref<4xi64>
func.func @two_results(%x: tensor<4x20xf32>) -> (tensor<4xf32>, tensor<4xi64>) {
  %low = arith.constant 0xFF800000 : f32
  %zero = arith.constant 0 : i64
  %e = tensor.empty() : tensor<4xf32>
  %g = tensor.empty() : tensor<4xi64>
  %f = linalg.fill ins(%low : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %h = linalg.fill ins(%zero : i64) outs(%g : tensor<4xi64>) -> tensor<4xi64>
  %0:2 = linalg.generic {indexing_maps = [#id, #row, #row], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<4x20xf32>) outs(%f, %h : tensor<4xf32>, tensor<4xi64>) {
  ^bb0(%a: f32, %best: f32, %at: i64):
    %j = linalg.index 1 : index
    %i = arith.index_cast %j : index to i64
    %1 = arith.cmpf ogt, %a, %best : f32
    %2 = arith.select %1, %a, %best : f32
    %3 = arith.select %1, %i, %at : i64
    linalg.yield %2, %3 : f32, i64
  } -> (tensor<4xf32>, tensor<4xi64>)
  return %0#0, %0#1 : tensor<4xf32>, tensor<4xi64>
}

// An element at a place of its own keeps the operand's shape, although no loop asks for an index.
// CHECK-LABEL: @one_element
// CHECK: memref.load %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}] : memref<1x1x1xi32>
func.func @one_element(%x: tensor<1x1x1xi32>) -> tensor<2x2xi32> {
  %0 = tensor.empty() : tensor<2x2xi32>
  %1 = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%0 : tensor<2x2xi32>) {
  ^bb0(%out: i32):
    %c0 = arith.constant 0 : index
    %element = tensor.extract %x[%c0, %c0, %c0] : tensor<1x1x1xi32>
    linalg.yield %element : i32
  } -> tensor<2x2xi32>
  return %1 : tensor<2x2xi32>
}

}

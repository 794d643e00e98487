// RUN: edgecc-opt %s --pass-pipeline='builtin.module(func.func(edge-fuse-elementwise))' | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
#column = affine_map<(d0, d1) -> (d0, 0)>
#id1 = affine_map<(d0) -> (d0)>
#s = affine_map<()[s0] -> (s0, 20)>
module attributes {edge.symbols = [#edge.symbol<"s", 1, 512, free>]} {

// A chain becomes one loop; the symbolic size of its output stays.
// CHECK-LABEL: @chain
// CHECK: %[[D:.*]] = edge.dim 0
// CHECK: %[[E:.*]] = tensor.empty(%[[D]])
// CHECK: linalg.generic {{.*}} outs(%[[E]] :
// CHECK: math.exp
// CHECK-NEXT: arith.addf
// CHECK-NOT: linalg.generic
func.func @chain(%x: tensor<?x20xf32, #s>, %y: tensor<?x20xf32, #s>) -> tensor<?x20xf32, #s> {
  %d = edge.dim 0
  %e = tensor.empty(%d) : tensor<?x20xf32, #s>
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x20xf32, #s>) outs(%e : tensor<?x20xf32, #s>) {
  ^bb0(%a: f32, %o: f32):
    %2 = math.exp %a : f32
    linalg.yield %2 : f32
  } -> tensor<?x20xf32, #s>
  %1 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%0, %y : tensor<?x20xf32, #s>, tensor<?x20xf32, #s>) outs(%e : tensor<?x20xf32, #s>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %2 = arith.addf %a, %b : f32
    linalg.yield %2 : f32
  } -> tensor<?x20xf32, #s>
  return %1 : tensor<?x20xf32, #s>
}

// Two readers would compute it twice.
// CHECK-LABEL: @two_readers
// CHECK: math.exp
// CHECK: linalg.generic
// CHECK: arith.negf
// CHECK: linalg.generic
// CHECK: arith.mulf
func.func @two_readers(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %e = tensor.empty() : tensor<8xf32>
  %0 = linalg.generic {indexing_maps = [#id1, #id1], iterator_types = ["parallel"]} ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %3 = math.exp %a : f32
    linalg.yield %3 : f32
  } -> tensor<8xf32>
  %1 = linalg.generic {indexing_maps = [#id1, #id1], iterator_types = ["parallel"]} ins(%0 : tensor<8xf32>) outs(%e : tensor<8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %3 = arith.negf %a : f32
    linalg.yield %3 : f32
  } -> tensor<8xf32>
  %2 = linalg.generic {indexing_maps = [#id1, #id1, #id1], iterator_types = ["parallel"]} ins(%0, %x : tensor<8xf32>, tensor<8xf32>) outs(%e : tensor<8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %3 = arith.mulf %a, %b : f32
    linalg.yield %3 : f32
  } -> tensor<8xf32>
  return %1, %2 : tensor<8xf32>, tensor<8xf32>
}

// What is repeated along a row would be computed for each element of it: a chain of several operations stays outside.
// CHECK-LABEL: @broadcast
// CHECK: linalg.generic
// CHECK: math.exp
// CHECK: linalg.generic
// CHECK: arith.mulf
func.func @broadcast(%x: tensor<4x20xf32>, %y: tensor<4xf32>, %z: tensor<4xf32>) -> tensor<4x20xf32> {
  %e = tensor.empty() : tensor<4x20xf32>
  %f = tensor.empty() : tensor<4xf32>
  %0 = linalg.generic {indexing_maps = [#id1, #id1, #id1], iterator_types = ["parallel"]} ins(%y, %z : tensor<4xf32>, tensor<4xf32>) outs(%f : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %2 = arith.addf %a, %b : f32
    %3 = math.exp %2 : f32
    %4 = arith.divf %3, %a : f32
    linalg.yield %4 : f32
  } -> tensor<4xf32>
  %1 = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %0 : tensor<4x20xf32>, tensor<4xf32>) outs(%e : tensor<4x20xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %2 = arith.mulf %a, %b : f32
    linalg.yield %2 : f32
  } -> tensor<4x20xf32>
  return %1 : tensor<4x20xf32>
}

// A reduction reads each element once: the chain before it costs nothing more there.
// CHECK-LABEL: @into_a_reduction
// CHECK: linalg.generic {{.*}}"reduction"
// CHECK: math.absf
// CHECK-NEXT: arith.maximumf
// CHECK-NOT: linalg.generic
func.func @into_a_reduction(%x: tensor<4x20xf32>) -> tensor<4xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x20xf32>
  %f = tensor.empty() : tensor<4xf32>
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x20xf32>) outs(%e : tensor<4x20xf32>) {
  ^bb0(%a: f32, %o: f32):
    %2 = math.absf %a : f32
    linalg.yield %2 : f32
  } -> tensor<4x20xf32>
  %g = linalg.fill ins(%zero : f32) outs(%f : tensor<4xf32>) -> tensor<4xf32>
  %1 = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]} ins(%0 : tensor<4x20xf32>) outs(%g : tensor<4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %2 = arith.maximumf %o, %a : f32
    linalg.yield %2 : f32
  } -> tensor<4xf32>
  return %1 : tensor<4xf32>
}
}

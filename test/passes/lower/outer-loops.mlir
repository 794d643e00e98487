// RUN: edgecc-opt %s --split-input-file --pass-pipeline='builtin.module(func.func(edge-lower-generics))' | FileCheck %s

// LLVM may unroll the inner loop, but not the one around it: of fixed sizes it would unroll whole planes.
// CHECK: #[[UNROLL:.*]] = #llvm.loop_unroll<disable = true>
// CHECK: #[[KEEP:.*]] = #llvm.loop_annotation<unroll = #[[UNROLL]]>
// CHECK-LABEL: func.func @plane
// CHECK: scf.for
// CHECK: scf.for
// CHECK: arith.addf
// CHECK-NEXT: scf.yield
// CHECK-NEXT: }
// CHECK-NEXT: scf.yield
// CHECK-NEXT: } {loop_annotation = #[[KEEP]]}
func.func @plane(%x: tensor<4x24x160xf32>) -> tensor<4xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(b, i, j) -> (b, i, j)>, affine_map<(b, i, j) -> (b)>],
                       iterator_types = ["parallel", "reduction", "reduction"]} ins(%x : tensor<4x24x160xf32>) outs(%f : tensor<4xf32>) {
  ^bb0(%a: f32, %s: f32):
    %1 = arith.addf %s, %a : f32
    linalg.yield %1 : f32
  } -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// A small window may be unrolled as a whole.
// CHECK-LABEL: func.func @window
// CHECK-NOT: loop_annotation = #{{.*}}
// CHECK: return
func.func @window(%x: tensor<4x3x3xf32>) -> tensor<4xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(b, i, j) -> (b, i, j)>, affine_map<(b, i, j) -> (b)>],
                       iterator_types = ["parallel", "reduction", "reduction"]} ins(%x : tensor<4x3x3xf32>) outs(%f : tensor<4xf32>) {
  ^bb0(%a: f32, %s: f32):
    %1 = arith.addf %s, %a : f32
    linalg.yield %1 : f32
  } -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

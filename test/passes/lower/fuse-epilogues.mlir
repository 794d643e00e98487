// RUN: edgecc-opt %s --pass-pipeline='builtin.module(func.func(edge-fuse-epilogues))' | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#channel = affine_map<(d0, d1) -> (0, d1)>
#turned = affine_map<(d0, d1) -> (d1, d0)>
#s = affine_map<()[s0] -> (s0, 20)>
#k = affine_map<()[s0] -> (s0, 8)>
module attributes {edge.symbols = [#edge.symbol<"s", 1, 512, free>]} {

// A bias per channel becomes [n]; the residual is read in the result's shape.
// CHECK-LABEL: @bias_activation_residual
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32, #{{.*}}>, %[[W:.*]]: tensor<20x8xf32>, %[[B:.*]]: tensor<1x20xf32>, %[[Y:.*]]: tensor<?x20xf32, #{{.*}}>)
// CHECK: %[[BIAS:.*]] = edge.reshape %[[B]] : tensor<1x20xf32> -> tensor<20xf32>
// CHECK: %[[R:.*]] = edge.linear %[[X]], %[[W]] extras(%[[BIAS]], %[[Y]] :
// CHECK-NEXT: ^bb0(%[[SUM:.*]]: f32, %[[C:.*]]: f32, %[[E:.*]]: f32):
// CHECK-NEXT: %[[ADD:.*]] = arith.addf %[[SUM]], %[[C]]
// CHECK-NEXT: %[[TANH:.*]] = math.tanh %[[ADD]]
// CHECK-NEXT: %[[LAST:.*]] = arith.addf %[[E]], %[[TANH]]
// CHECK-NEXT: edge.yield %[[LAST]] : f32
// CHECK-NOT: linalg.generic
// CHECK: return %[[R]]
func.func @bias_activation_residual(%x: tensor<?x8xf32, #k>, %w: tensor<20x8xf32>, %b: tensor<1x20xf32>, %y: tensor<?x20xf32, #s>) -> tensor<?x20xf32, #s> {
  %0 = edge.linear %x, %w : tensor<?x8xf32, #k>, tensor<20x8xf32> -> tensor<?x20xf32, #s>
  %d = edge.dim 0
  %e = tensor.empty(%d) : tensor<?x20xf32, #s>
  %1 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel"]} ins(%0, %b : tensor<?x20xf32, #s>, tensor<1x20xf32>) outs(%e : tensor<?x20xf32, #s>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %2 = arith.addf %a, %c : f32
    %3 = math.tanh %2 : f32
    linalg.yield %3 : f32
  } -> tensor<?x20xf32, #s>
  %4 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%y, %1 : tensor<?x20xf32, #s>, tensor<?x20xf32, #s>) outs(%e : tensor<?x20xf32, #s>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %2 = arith.addf %a, %c : f32
    linalg.yield %2 : f32
  } -> tensor<?x20xf32, #s>
  return %4 : tensor<?x20xf32, #s>
}

// The sum is rounded to f16 where it was before, and f16 arithmetic follows.
// CHECK-LABEL: @narrow
// CHECK: edge.linear
// CHECK-NEXT: ^bb0(%[[SUM:.*]]: f32):
// CHECK-NEXT: %[[N:.*]] = arith.truncf %[[SUM]] : f32 to f16
// CHECK-NEXT: %[[M:.*]] = arith.mulf %[[N]], %[[N]] : f16
// CHECK-NEXT: edge.yield %[[M]] : f16
func.func @narrow(%x: tensor<4x8xf16>, %w: tensor<20x8xf16>) -> tensor<4x20xf16> {
  %0 = edge.linear %x, %w : tensor<4x8xf16>, tensor<20x8xf16> -> tensor<4x20xf16>
  %e = tensor.empty() : tensor<4x20xf16>
  %1 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%0, %0 : tensor<4x20xf16>, tensor<4x20xf16>) outs(%e : tensor<4x20xf16>) {
  ^bb0(%a: f16, %b: f16, %o: f16):
    %2 = arith.mulf %a, %b : f16
    linalg.yield %2 : f16
  } -> tensor<4x20xf16>
  return %1 : tensor<4x20xf16>
}

// Two readers: the sum is needed as it is.
// CHECK-LABEL: @two_readers
// CHECK: edge.linear
// CHECK: linalg.generic
func.func @two_readers(%x: tensor<4x8xf32>, %w: tensor<20x8xf32>) -> (tensor<4x20xf32>, tensor<4x20xf32>) {
  %0 = edge.linear %x, %w : tensor<4x8xf32>, tensor<20x8xf32> -> tensor<4x20xf32>
  %e = tensor.empty() : tensor<4x20xf32>
  %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%0 : tensor<4x20xf32>) outs(%e : tensor<4x20xf32>) {
  ^bb0(%a: f32, %o: f32):
    %2 = math.exp %a : f32
    linalg.yield %2 : f32
  } -> tensor<4x20xf32>
  return %0, %1 : tensor<4x20xf32>, tensor<4x20xf32>
}

// Another tensor read in another order is not at hand when a tile is stored.
// CHECK-LABEL: @turned
// CHECK: edge.linear
// CHECK: linalg.generic
func.func @turned(%x: tensor<20x8xf32>, %w: tensor<20x8xf32>, %y: tensor<20x20xf32>) -> tensor<20x20xf32> {
  %0 = edge.linear %x, %w : tensor<20x8xf32>, tensor<20x8xf32> -> tensor<20x20xf32>
  %e = tensor.empty() : tensor<20x20xf32>
  %1 = linalg.generic {indexing_maps = [#id, #turned, #id], iterator_types = ["parallel", "parallel"]} ins(%0, %y : tensor<20x20xf32>, tensor<20x20xf32>) outs(%e : tensor<20x20xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %2 = arith.addf %a, %b : f32
    linalg.yield %2 : f32
  } -> tensor<20x20xf32>
  return %1 : tensor<20x20xf32>
}
}

// RUN: edgecc-opt %s "--edge-prune-channels=share=0.5 importance=magnitude compensation=none" 2>&1 | FileCheck %s

// One weight makes gate and up, which are taken apart by slices behind a bias: two linears without slices compute the same, and
// each loses the channels. What is taken apart in another way stays as it is.

// CHECK: remark: 'down': 32 of 64 FFN channels are left
// CHECK-LABEL: @main
// CHECK-COUNT-2: edge.linear {{.*}} tensor<2x8xf32>, tensor<32x8xf32> -> tensor<2x32xf32>
// CHECK-COUNT-2: edge.weight "bias" {{.*}} tensor<32xf32>
// CHECK-NOT: tensor.extract {{.*}} tensor<2x128xf32>
// CHECK: edge.linear {{.*}} tensor<2x32xf32>, tensor<8x32xf32> -> tensor<2x8xf32>
// CHECK: edge.linear {{.*}} tensor<2x8xf32>, tensor<24x8xf32> -> tensor<2x24xf32>
// CHECK: tensor.extract {{.*}} tensor<2x24xf32>
func.func @main(%x: tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x16xf32>, tensor<2x16xf32>) {
  %w = edge.weight "gate_up" {value = dense<2.0> : tensor<128x8xf32>} : tensor<128x8xf32>
  %bias = edge.weight "bias" {value = dense<1.0> : tensor<128xf32>} : tensor<128xf32>
  %down = edge.weight "down" {value = dense<3.0> : tensor<8x64xf32>} : tensor<8x64xf32>
  %sums = edge.linear %x, %w : tensor<2x8xf32>, tensor<128x8xf32> -> tensor<2x128xf32>
  %both = tensor.empty() : tensor<2x128xf32>
  %empty = tensor.empty() : tensor<2x64xf32>
  %a = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
                       iterator_types = ["parallel", "parallel"]} ins(%sums, %bias : tensor<2x128xf32>, tensor<128xf32>) outs(%both : tensor<2x128xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<2x128xf32>
  %gate = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} outs(%empty : tensor<2x64xf32>) {
  ^bb0(%r: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %s = tensor.extract %a[%i, %j] : tensor<2x128xf32>
    linalg.yield %s : f32
  } -> tensor<2x64xf32>
  %up = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} outs(%empty : tensor<2x64xf32>) {
  ^bb0(%r: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %c = arith.constant 64 : index
    %k = arith.addi %j, %c : index
    %s = tensor.extract %a[%i, %k] : tensor<2x128xf32>
    linalg.yield %s : f32
  } -> tensor<2x64xf32>
  %h = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
                       iterator_types = ["parallel", "parallel"]} ins(%gate, %up : tensor<2x64xf32>, tensor<2x64xf32>) outs(%empty : tensor<2x64xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
    %s = arith.mulf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<2x64xf32>
  %y = edge.linear %h, %down : tensor<2x64xf32>, tensor<8x64xf32> -> tensor<2x8xf32>

  %wide = edge.weight "overlapping" {value = dense<2.0> : tensor<24x8xf32>} : tensor<24x8xf32>
  %o = edge.linear %x, %wide : tensor<2x8xf32>, tensor<24x8xf32> -> tensor<2x24xf32>
  %part = tensor.empty() : tensor<2x16xf32>
  %first = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} outs(%part : tensor<2x16xf32>) {
  ^bb0(%r: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %s = tensor.extract %o[%i, %j] : tensor<2x24xf32>
    linalg.yield %s : f32
  } -> tensor<2x16xf32>
  %last = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} outs(%part : tensor<2x16xf32>) {
  ^bb0(%r: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %c = arith.constant 8 : index
    %k = arith.addi %j, %c : index
    %s = tensor.extract %o[%i, %k] : tensor<2x24xf32>
    linalg.yield %s : f32
  } -> tensor<2x16xf32>
  return %y, %first, %last : tensor<2x8xf32>, tensor<2x16xf32>, tensor<2x16xf32>
}

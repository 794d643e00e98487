// RUN: edgecc-opt %s -split-input-file "--edge-prune-channels=share=0.5 importance=magnitude compensation=none" 2>&1 | FileCheck %s

// A gated MLP: both linears in front lose the rows, the one behind the columns, and the ledger has it.

// CHECK: remark: 'down': 64 of 128 FFN channels are left, 12288 to 6144 bytes
// CHECK: module
// CHECK-SAME: edge.ledger = [{bytes_after = 6144 : i64, bytes_before = 12288 : i64,
// CHECK-SAME: layer = "down", scheme = "pruned ffn 128 to 64", weight = "down"
// CHECK-LABEL: @main
// CHECK-SAME: -> tensor<2x8xf32>
// CHECK: edge.weight "gate"{{.*}} tensor<64x8xf32>
// CHECK: edge.linear {{.*}} tensor<2x8xf32>, tensor<64x8xf32> -> tensor<2x64xf32>
// CHECK: edge.linear {{.*}} tensor<2x8xf32>, tensor<8x64xf32> -> tensor<2x64xf32>
// CHECK: linalg.generic {{.*}} outs({{.*}} : tensor<2x64xf32>)
// CHECK: edge.linear {{.*}} tensor<2x64xf32>, tensor<8x64xf32> -> tensor<2x8xf32>
module {
  func.func @main(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
    %gate = edge.weight "gate" {value = dense<1.0> : tensor<128x8xf32>} : tensor<128x8xf32>
    %up = edge.weight "up" {value = dense<2.0> : tensor<8x128xf32>} : tensor<8x128xf32>
    %down = edge.weight "down" {value = dense<3.0> : tensor<8x128xf32>} : tensor<8x128xf32>
    %a = edge.linear %x, %gate : tensor<2x8xf32>, tensor<128x8xf32> -> tensor<2x128xf32>
    %b = edge.linear %x, %up {layout = 1 : i32} : tensor<2x8xf32>, tensor<8x128xf32> -> tensor<2x128xf32>
    %empty = tensor.empty() : tensor<2x128xf32>
    %c = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
                         iterator_types = ["parallel", "parallel"]} ins(%a, %b : tensor<2x128xf32>, tensor<2x128xf32>) outs(%empty : tensor<2x128xf32>) {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %s = arith.mulf %p, %q : f32
      linalg.yield %s : f32
    } -> tensor<2x128xf32>
    %y = edge.linear %c, %down : tensor<2x128xf32>, tensor<8x128xf32> -> tensor<2x8xf32>
    return %y : tensor<2x8xf32>
  }
}

// -----

// Layers that share their weights lose the same channels; biases between them lose their numbers; sizes keep their names.

// CHECK: remark: 'down': 32 of 64 FFN channels are left
// CHECK-NOT: remark: 'down'
// CHECK-LABEL: @main
// CHECK-COUNT-2: edge.weight "bias" {{.*}} tensor<32xf32>
// CHECK-NOT: x64xf32
#x = affine_map<()[s0] -> (s0, 8)>
#hidden = affine_map<()[s0] -> (s0, 64)>
module attributes {edge.symbols = [#edge.symbol<"tokens", 1, 16, free>]} {
  func.func @main(%x: tensor<?x8xf32, #x>) -> tensor<?x8xf32, #x> {
    %up = edge.weight "up" {value = dense<2.0> : tensor<64x8xf32>} : tensor<64x8xf32>
    %down = edge.weight "down" {value = dense<3.0> : tensor<8x64xf32>} : tensor<8x64xf32>
    %bias = edge.weight "bias" {value = dense<1.0> : tensor<64xf32>} : tensor<64xf32>
    %tokens = edge.dim 0
    %a = edge.linear %x, %up : tensor<?x8xf32, #x>, tensor<64x8xf32> -> tensor<?x64xf32, #hidden>
    %empty = tensor.empty(%tokens) : tensor<?x64xf32, #hidden>
    %b = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
                         iterator_types = ["parallel", "parallel"]} ins(%a, %bias : tensor<?x64xf32, #hidden>, tensor<64xf32>) outs(%empty : tensor<?x64xf32, #hidden>) {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %s = arith.addf %p, %q : f32
      linalg.yield %s : f32
    } -> tensor<?x64xf32, #hidden>
    %y = edge.linear %b, %down : tensor<?x64xf32, #hidden>, tensor<8x64xf32> -> tensor<?x8xf32, #x>
    %c = edge.linear %y, %up : tensor<?x8xf32, #x>, tensor<64x8xf32> -> tensor<?x64xf32, #hidden>
    %d = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
                         iterator_types = ["parallel", "parallel"]} ins(%c, %bias : tensor<?x64xf32, #hidden>, tensor<64xf32>) outs(%empty : tensor<?x64xf32, #hidden>) {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %s = arith.addf %p, %q : f32
      linalg.yield %s : f32
    } -> tensor<?x64xf32, #hidden>
    %z = edge.linear %d, %down : tensor<?x64xf32, #hidden>, tensor<8x64xf32> -> tensor<?x8xf32, #x>
    return %z : tensor<?x8xf32, #x>
  }
}

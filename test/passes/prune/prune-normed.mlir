// RUN: edgecc-opt %s "--edge-prune-channels=share=0.5 importance=magnitude compensation=none" 2>&1 | FileCheck %s

// A norm over all channels in front of the last weight loses the numbers of its scale. Without samples nothing is known of what the
// channels had of the mean square: it stays the mean of those that there are.

// CHECK: remark: 'down': 32 of 64 FFN channels are left
// CHECK: edge.weight "scale" {value = dense<2.000000e+00> : tensor<32xf32>}
// CHECK: edge.rms_norm {{.*}} {epsilon = 5.000000e-01 : f32} : tensor<2x32xf32> -> tensor<2x32xf32>
// CHECK: edge.linear {{.*}} tensor<2x32xf32>, tensor<8x32xf32> -> tensor<2x8xf32>
module {
  func.func @main(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
    %up = edge.weight "up" {value = dense<2.0> : tensor<64x8xf32>} : tensor<64x8xf32>
    %down = edge.weight "down" {value = dense<3.0> : tensor<8x64xf32>} : tensor<8x64xf32>
    %scale = edge.weight "scale" {value = dense<2.0> : tensor<64xf32>} : tensor<64xf32>
    %a = edge.linear %x, %up : tensor<2x8xf32>, tensor<64x8xf32> -> tensor<2x64xf32>
    %empty = tensor.empty() : tensor<2x64xf32>
    %b = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
                         iterator_types = ["parallel", "parallel"]} ins(%a : tensor<2x64xf32>) outs(%empty : tensor<2x64xf32>) {
    ^bb0(%p: f32, %q: f32):
      %s = math.tanh %p : f32
      linalg.yield %s : f32
    } -> tensor<2x64xf32>
    %n = edge.rms_norm %b, %scale : tensor<64xf32> {epsilon = 0.5 : f32} : tensor<2x64xf32> -> tensor<2x64xf32>
    %y = edge.linear %n, %down : tensor<2x64xf32>, tensor<8x64xf32> -> tensor<2x8xf32>
    return %y : tensor<2x8xf32>
  }
}

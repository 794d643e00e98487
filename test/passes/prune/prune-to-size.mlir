// RUN: edgecc-opt %s "--edge-prune-to-size=size=0.8x importance=magnitude compensation=none" 2>&1 | FileCheck %s
// RUN: edgecc-opt %s "--edge-prune-to-size=speed=1.25 importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=SPEED
// RUN: edgecc-opt %s "--edge-prune-to-size=size=1MB importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=THERE

// An MLP of 14,336 bytes, of which 11,468 may be left. With 96 channels these are 10,752 numbers' bytes, but 15,360 in panels of 16
// outputs, of which there are two for the 20: 64 channels fit.

// CHECK: remark: 'down': 64 of 128 FFN channels are left, 14336 to 7168 bytes
// CHECK: remark: 10240 bytes of weights of 14336, and 11468 may be
// CHECK: edge.linear {{.*}} tensor<2x64xf32>, tensor<20x64xf32> -> tensor<2x20xf32>

// It has no cache: a speed is a matter of multiply-adds.

// SPEED: remark: 'down': 96 of 128 FFN channels are left
// SPEED: remark: 2688 multiply-adds of a token of 3584, and 2867 may be

// THERE: remark: nothing is pruned: there are 14336 bytes of weights, and 1000000 may be
// THERE: edge.linear {{.*}} tensor<2x128xf32>, tensor<20x128xf32> -> tensor<2x20xf32>
module {
  func.func @main(%x: tensor<2x8xf32>) -> tensor<2x20xf32> {
    %up = edge.weight "up" {value = dense<2.0> : tensor<128x8xf32>} : tensor<128x8xf32>
    %down = edge.weight "down" {value = dense<3.0> : tensor<20x128xf32>} : tensor<20x128xf32>
    %a = edge.linear %x, %up : tensor<2x8xf32>, tensor<128x8xf32> -> tensor<2x128xf32>
    %empty = tensor.empty() : tensor<2x128xf32>
    %b = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
                         iterator_types = ["parallel", "parallel"]} ins(%a : tensor<2x128xf32>) outs(%empty : tensor<2x128xf32>) {
    ^bb0(%p: f32, %q: f32):
      %s = math.tanh %p : f32
      linalg.yield %s : f32
    } -> tensor<2x128xf32>
    %y = edge.linear %b, %down : tensor<2x128xf32>, tensor<20x128xf32> -> tensor<2x20xf32>
    return %y : tensor<2x20xf32>
  }
}

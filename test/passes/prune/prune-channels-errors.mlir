// RUN: not edgecc-opt %s "--edge-prune-channels=share=0.2" 2>&1 | FileCheck %s --check-prefix=SAMPLES
// RUN: not edgecc-opt %s "--edge-prune-channels=share=1.5 importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=SHARE
// RUN: not edgecc-opt %s "--edge-prune-channels=share=0.9 importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=MORE
// RUN: not edgecc-opt %s "--edge-prune-channels=share=0.5 importance=size" 2>&1 | FileCheck %s --check-prefix=WORD
// RUN: not edgecc-opt %s "--edge-prune-channels=share=0.5 spread=wide" 2>&1 | FileCheck %s --check-prefix=SPREAD

// SAMPLES: error: pruning looks at what flows through the model: give it samples with --calibrate FILE
// SHARE: error: pruning: a share of the FFN channels is above 0 and below 1, not 1.5
// MORE: error: pruning: 0.9 of 128 FFN channels are 115, but only 96 can go: each layer keeps a quarter of its own, in steps of 32
// WORD: error: no such importance or compensation: 'size', 'least-squares'; there are surgeon, flap, wanda, magnitude
// SPREAD: error: no such spread: 'wide'; there are global and even

func.func @main(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %up = edge.weight "up" {value = dense<1.0> : tensor<128x8xf32>} : tensor<128x8xf32>
  %down = edge.weight "down" {value = dense<3.0> : tensor<8x128xf32>} : tensor<8x128xf32>
  %a = edge.linear %x, %up : tensor<2x8xf32>, tensor<128x8xf32> -> tensor<2x128xf32>
  %empty = tensor.empty() : tensor<2x128xf32>
  %b = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      ins(%a : tensor<2x128xf32>) outs(%empty : tensor<2x128xf32>) {
  ^bb0(%p: f32, %r: f32):
    %s = math.tanh %p : f32
    linalg.yield %s : f32
  } -> tensor<2x128xf32>
  %y = edge.linear %b, %down : tensor<2x128xf32>, tensor<8x128xf32> -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

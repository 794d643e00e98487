// RUN: not edgecc-opt %s "--edge-prune-to-size=size=3kB importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=SMALL
// RUN: not edgecc-opt %s "--edge-prune-to-size=speed=5 importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=FAST
// RUN: not edgecc-opt %s "--edge-prune-to-size=size=1.2x importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=FACTOR
// RUN: not edgecc-opt %s "--edge-prune-to-size=size=3k importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=UNIT
// RUN: not edgecc-opt %s "--edge-prune-to-size=size=3kB speed=2" 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: not edgecc-opt %s "--edge-prune-to-size=speed=0.5" 2>&1 | FileCheck %s --check-prefix=SLOW
// RUN: not edgecc-opt %s "--edge-prune-to-size=size=9kB" 2>&1 | FileCheck %s --check-prefix=SAMPLES
// RUN: not edgecc-opt %s "--edge-prune-to-size=size=9kB importance=magnitude compensation=none layers-schemes=head*=w8a8" 2>&1 | FileCheck %s --check-prefix=PATTERN
// RUN: not edgecc %s --prune-target-size=9kB --prune-target-speed=2 2>&1 | FileCheck %s --check-prefix=AIMS
// RUN: not edgecc %s --prune-target-size=9kB --prune ffn=0.2 2>&1 | FileCheck %s --check-prefix=SHARE
// RUN: not edgecc %s --prune-target-size=9kB --target-bpw=4 --calibrate x.ids 2>&1 | FileCheck %s --check-prefix=BUDGET
// RUN: not edgecc %s --prune-target-size=9kB --quant=w8a8 --quant-algorithm=llm-int8 2>&1 | FileCheck %s --check-prefix=OUTLIERS
// RUN: not edgecc %s --prune-target-size=9kB --exit-layers=1 2>&1 | FileCheck %s --check-prefix=EXITS
// RUN: not edgecc %s --prune-target-size=9kB 2>&1 | FileCheck %s --check-prefix=CALIBRATE
// RUN: not edgecc %s --prune-target-size=0 2>&1 | FileCheck %s --check-prefix=NOTHING
// RUN: not edgecc %s --prune-target-speed=1 2>&1 | FileCheck %s --check-prefix=SAME

// SMALL: error: pruning: 3000 bytes of weights cannot be reached: if each layer keeps a quarter of what can go, it is 5120, 0.3571 of what there is; allow as much, or take whole layers, too
// FAST: error: pruning: 716 multiply-adds of a token cannot be reached: if each layer keeps a quarter of what can go, it is 896, 0.25 of what there is
// FACTOR: error: pruning to a size: 1.2x: a factor of the size that there is, is above 0 and below 1, e.g. 0.8x
// UNIT: error: pruning to a size: '3k' is no number of bytes above 0; write e.g. 1500000, 1500kB, 1.5MB or 1.5MiB, or a factor: 0.8x
// BOTH: error: pruning to a size or speed: give one of the two
// SLOW: error: pruning to a speed: a factor is above 1, not 0.5
// SAMPLES: error: pruning looks at what flows through the model: give it samples with --calibrate FILE
// PATTERN: error: layers: 'head*' fits no layer with a float weight
// AIMS: error: --prune-target-size and --prune-target-speed aim at different things; give one
// SHARE: error: --prune-target-size and --prune-target-speed choose how many heads and channels go; leave ffn= and heads= of --prune away
// BUDGET: error: --prune-target-size and --prune-target-speed count bytes of known schemes, and --target-size, --target-bpw and --max-kl choose them afterwards
// OUTLIERS: error: --prune-target-size and --prune-target-speed do not know yet how many channels --quant-algorithm=llm-int8 will keep as floats
// EXITS: error: --prune-target-size does not know yet what the maps of exits will take; give --exit-map=none
// CALIBRATE: error: --prune-target-size and --prune-target-speed look at what flows through the model: give it samples with --calibrate FILE
// NOTHING: error: --prune-target-size: '0' is no number of bytes above 0
// SAME: error: --prune-target-speed=1: write how many times faster a token shall be decoded, above 1

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

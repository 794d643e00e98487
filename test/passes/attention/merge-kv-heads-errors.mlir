// RUN: not edgecc-opt %s --edge-merge-kv-heads=heads=half 2>&1 | FileCheck %s --check-prefix=WORD
// RUN: not edgecc-opt %s "--edge-merge-kv-heads=heads=1 merge=sum" 2>&1 | FileCheck %s --check-prefix=MERGE
// RUN: not edgecc-opt %s --edge-merge-kv-heads=heads=auto 2>&1 | FileCheck %s --check-prefix=AUTO
// RUN: not edgecc-opt %s "--edge-merge-kv-heads=heads=1 max-kl=0.1" 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: not edgecc-opt %s --edge-merge-kv-heads=heads=1 2>&1 | FileCheck %s --check-prefix=SAMPLES
// RUN: edgecc-opt %s --edge-merge-kv-heads=heads=exact 2>&1 | FileCheck %s --check-prefix=EXACT

// WORD: error: kv-heads=half is neither none, exact, auto, nor a number of KV heads
// MERGE: error: kv-merge=sum: heads are merged by mean, group, align, solve, or fit
// AUTO: error: kv-heads=auto needs to know what may be lost: give max-kl in nats per token
// BOTH: error: max-kl goes with kv-heads=auto; with a number of KV heads nothing is left to choose
// SAMPLES: error: kv-heads=1 merges heads by what they do on samples, and there are none: give --calibrate FILE
// Exact folding takes what it can, and says what it cannot.
// EXACT: remark: {{.*}}attention 'scores': its query comes from an input of the model, not from a linear layer by way of biases, slices, {{.*}}; its KV heads stay
func.func @main(%x: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  %z = edge.attention %x, %x, %x {scale = 1.0 : f32, length = affine_map<() -> (4)>, offset = affine_map<() -> (0)>} : tensor<1x4x2x2xf32>, tensor<1x4x2x2xf32>, tensor<1x4x2x2xf32> -> tensor<1x4x2x2xf32> loc("scores")
  return %z : tensor<1x4x2x2xf32>
}

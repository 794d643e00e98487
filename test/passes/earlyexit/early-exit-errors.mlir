// RUN: not edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=3" 2>&1 | FileCheck %s --check-prefix=LAST
// RUN: not edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=4" 2>&1 | FileCheck %s --check-prefix=BEYOND
// RUN: not edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=0" 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=1,x" 2>&1 | FileCheck %s --check-prefix=WORD
// RUN: not edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=1,1" 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=1 threshold=1.5" 2>&1 | FileCheck %s --check-prefix=THRESHOLD
// RUN: not edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=1 confidence=mood" 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: split-file %s %t
// RUN: not edgecc-opt %t/no-attention.mlir "--edge-early-exit=layers=1" 2>&1 | FileCheck %s --check-prefix=ATTENTION
// RUN: not edgecc-opt %t/one-layer.mlir "--edge-early-exit=layers=1" 2>&1 | FileCheck %s --check-prefix=ONE
// RUN: not edgecc-opt %t/no-stream.mlir "--edge-early-exit=layers=1" 2>&1 | FileCheck %s --check-prefix=STREAM
// RUN: not edgecc-opt %t/no-logits.mlir "--edge-early-exit=layers=1" 2>&1 | FileCheck %s --check-prefix=LOGITS
// RUN: not edgecc-opt %t/no-logits.mlir "--edge-early-exit=layers=1 confidence=state verify" 2>&1 | FileCheck %s --check-prefix=VERIFY
// RUN: edgecc-opt %t/no-logits.mlir "--edge-early-exit=layers=1 confidence=state" -o /dev/null

// LAST: error: early exit: --exit-layers=3: behind the last of 3 layers there is nothing to save; the last useful exit is 2
// BEYOND: error: early exit: --exit-layers=4: the model has the layers 1 to 3
// ZERO: error: early exit: --exit-layers=0: the model has the layers 1 to 3
// WORD: error: --exit-layers=1,x: 'x' is no number of a layer; write 4,8
// TWICE: error: --exit-layers=1,1: layer 1 is there twice
// THRESHOLD: error: --exit-threshold=1.5: a confidence is between 0 and 1
// KIND: error: --exit-confidence=mood: margin, entropy and state are known
// ATTENTION: error: early exit: no attention was recognised in the model, so it is not known where its layers are
// ONE: error: early exit: the model has one layer; an exit needs a layer behind it
// STREAM: error: early exit: between attention 1 and attention 2 of the model there is no hidden state that everything behind it is computed from
// LOGITS: error: early exit: no output of the model is the result of a linear layer, so there are no logits to be sure about; --exit-confidence=state looks at the hidden states instead
// VERIFY: error: early exit: --exit-verify: the model has no cache, so there is nothing to verify token by token

//--- no-attention.mlir
func.func @main(%x: tensor<1x4x16xf32>) -> tensor<1x4x16xf32> {
  %0 = edge.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<1x4x16xf32> -> tensor<1x4x16xf32>
  return %0 : tensor<1x4x16xf32>
}

//--- one-layer.mlir
func.func @main(%x: tensor<1x4x1x16xf32>) -> tensor<1x4x1x16xf32> {
  %0 = edge.softmax %x : tensor<1x4x1x16xf32> -> tensor<1x4x1x16xf32>
  %1 = edge.attention %0, %0, %0 {scale = 1.0 : f32, length = affine_map<() -> (4)>, offset = affine_map<() -> (0)>} : tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32> -> tensor<1x4x1x16xf32>
  return %1 : tensor<1x4x1x16xf32>
}

//--- no-stream.mlir
// Two attentions beside each other.
func.func @main(%x: tensor<1x4x1x16xf32>) -> (tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32>) {
  %0 = edge.softmax %x : tensor<1x4x1x16xf32> -> tensor<1x4x1x16xf32>
  %1 = edge.attention %0, %0, %0 {scale = 1.0 : f32, length = affine_map<() -> (4)>, offset = affine_map<() -> (0)>} : tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32> -> tensor<1x4x1x16xf32>
  %2 = edge.attention %0, %0, %0 {scale = 2.0 : f32, length = affine_map<() -> (4)>, offset = affine_map<() -> (0)>} : tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32> -> tensor<1x4x1x16xf32>
  return %1, %2 : tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32>
}

//--- no-logits.mlir
func.func @main(%x: tensor<1x4x1x16xf32>) -> tensor<1x4x1x16xf32> {
  %0 = edge.softmax %x : tensor<1x4x1x16xf32> -> tensor<1x4x1x16xf32>
  %1 = edge.attention %0, %0, %0 {scale = 1.0 : f32, length = affine_map<() -> (4)>, offset = affine_map<() -> (0)>} : tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32> -> tensor<1x4x1x16xf32>
  %2 = edge.attention %1, %1, %1 {scale = 1.0 : f32, length = affine_map<() -> (4)>, offset = affine_map<() -> (0)>} : tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32> -> tensor<1x4x1x16xf32>
  return %2 : tensor<1x4x1x16xf32>
}

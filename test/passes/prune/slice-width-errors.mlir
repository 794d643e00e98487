// RUN: not edgecc-opt %s "--edge-slice-width=share=0.5" 2>&1 | FileCheck %s --check-prefix=SAMPLES
// RUN: not edgecc-opt %s "--edge-slice-width=share=0.05 importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=LITTLE
// RUN: not edgecc-opt %s "--edge-slice-width=share=0.9 importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=MUCH
// RUN: not edgecc-opt %s "--edge-slice-width=share=0.5 importance=size" 2>&1 | FileCheck %s --check-prefix=WORD
// RUN: not edgecc-opt %S/prune-channels-errors.mlir "--edge-slice-width=share=0.5 importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=TABLE
// RUN: not edgecc-opt %S/../quantize/rotate-residual.mlir --split-input-file "--edge-slice-width=share=0.5 importance=magnitude compensation=none" 2>&1 | FileCheck %s --check-prefix=MEAN

// SAMPLES: error: pruning the width: pruning looks at what flows through the model: give it samples with --calibrate FILE
// LITTLE: error: pruning the width: the residual stream of 64 channels can become 16 to 48, in steps of 16; a share of 0.05 is not among them
// MUCH: error: pruning the width: the residual stream of 64 channels can become 16 to 48, in steps of 16; a share of 0.9 is not among them
// WORD: error: pruning the width: no such importance or compensation: 'size', 'least-squares'; there are surgeon, flap, wanda, magnitude
// TABLE: error: pruning the width: there is no table of tokens from which a residual stream could start
// MEAN: error: pruning the width: edge.layer_norm 'the norm' reads the stream, and is neither a norm without mean, nor a linear, nor a sum

func.func @main(%ids: tensor<3xi64>) -> tensor<3x1xf32> {
  %table = edge.weight "table" {value = dense_resource<table> : tensor<1x64xf32>} : tensor<1x64xf32>
  %head = edge.weight "head" {value = dense_resource<table> : tensor<1x64xf32>} : tensor<1x64xf32>
  %x = edge.embedding %ids, %table : tensor<3xi64>, tensor<1x64xf32> -> tensor<3x64xf32>
  %y = edge.linear %x, %head : tensor<3x64xf32>, tensor<1x64xf32> -> tensor<3x1xf32>
  return %y : tensor<3x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      table: "0x040000000000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F"
    }
  }
#-}

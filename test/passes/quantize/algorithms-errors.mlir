// RUN: not edgecc %s --quant=w4g32a8 --quant-algorithm=gptq 2>&1 | FileCheck %s --check-prefix=SAMPLES
// RUN: not edgecc %s --quant=w4g32a8 --quant-algorithm=awq,best 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not edgecc %s --quant=w4g32a8 --quant-algorithm=rtn,gptq 2>&1 | FileCheck %s --check-prefix=NEAREST
// RUN: not edgecc %s --quant=w4g32a8 --quant-algorithm=gptq,gptq 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not edgecc %s --quant=w4g32a8 --quant-algorithm=awq,smoothquant 2>&1 | FileCheck %s --check-prefix=SCALES
// RUN: not edgecc %s --quant-algorithm=rotate 2>&1 | FileCheck %s --check-prefix=SCHEME
// RUN: not edgecc %s --target-size=1000 --max-kl=1 --calibrate x.ids 2>&1 | FileCheck %s --check-prefix=BUDGETS
// RUN: not edgecc %s --target-size=1000 --quant=w8a8 --calibrate x.ids 2>&1 | FileCheck %s --check-prefix=CHOSEN
// RUN: not edgecc %s --target-bpw=4 2>&1 | FileCheck %s --check-prefix=MEASURED
// RUN: not edgecc %s --target-bpw=-4 --calibrate x.ids 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// RUN: not edgecc-opt %s "--edge-quantize-weights=scheme=w4g32a8 rounding=feedback" 2>&1 | FileCheck %s --check-prefix=PASS
// RUN: not edgecc-opt %s "--edge-quantize-weights=scheme=w4g32a8 rounding=up" 2>&1 | FileCheck %s --check-prefix=ROUNDING
// RUN: not edgecc-opt %s --edge-scale-channels 2>&1 | FileCheck %s --check-prefix=SCALING
// RUN: not edgecc-opt %s --edge-choose-outliers 2>&1 | FileCheck %s --check-prefix=OUTLIERS
// RUN: not edgecc-opt %s --edge-choose-precision 2>&1 | FileCheck %s --check-prefix=PRECISION

// SAMPLES: error: --quant-algorithm=gptq looks at what flows through the model: give it samples with --calibrate FILE (text, .ids or .npz)
// UNKNOWN: error: --quant-algorithm='awq,best' has 'best', which is no algorithm; write rtn (to nearest), or some of
// NEAREST: error: --quant-algorithm='rtn,gptq' has rtn, which is what is done without the others; write
// TWICE: error: --quant-algorithm='gptq,gptq' has gptq twice; write
// SCALES: error: --quant-algorithm='awq,smoothquant' has two algorithms that choose the same scales; write
// SCHEME: error: --quant-algorithm=rotate says how, but nothing says what: add --quant=w4g32a8 or another scheme
// BUDGETS: error: --target-size, --target-bpw and --max-kl are budgets of different things; give one
// CHOSEN: error: --target-size, --target-bpw and --max-kl choose a scheme for each weight; leave --quant and --quant-layer away
// MEASURED: error: --target-size, --target-bpw and --max-kl measure what each layer loses: give samples with --calibrate FILE
// NEGATIVE: error: --target-size, --target-bpw and --max-kl must be above 0
// PASS: error: rounding: 'feedback' needs samples of what the layers read, and there are none
// ROUNDING: error: rounding: 'up' is none of nearest, weighted, feedback
// SCALING: error: algorithm: 'awq' needs samples of what the layers read, and there are none
// OUTLIERS: error: outliers are chosen on samples of what the layers read, and there are none
// PRECISION: error: what a layer loses is measured on samples, and there are none
func.func @main(%x: tensor<1x32xf32>) -> tensor<1x32xf32> {
  return %x : tensor<1x32xf32>
}

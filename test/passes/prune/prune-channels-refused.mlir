// RUN: not edgecc-opt %s -split-input-file "--edge-prune-channels=share=0.5 importance=magnitude compensation=none" 2>&1 | FileCheck %s

// What is between two linears mixes the channels: a norm that takes their mean away.

// CHECK: error: pruning found no FFN (linear, elementwise, linear) in the model:
// CHECK-NEXT: none of its 2 linear layers reads another one through elementwise ops alone
func.func @main(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %up = edge.weight "up" {value = dense<1.0> : tensor<128x8xf32>} : tensor<128x8xf32>
  %down = edge.weight "down" {value = dense<3.0> : tensor<8x128xf32>} : tensor<8x128xf32>
  %a = edge.linear %x, %up : tensor<2x8xf32>, tensor<128x8xf32> -> tensor<2x128xf32>
  %b = edge.layer_norm %a {epsilon = 1.0e-5 : f32} : tensor<2x128xf32> -> tensor<2x128xf32>
  %y = edge.linear %b, %down : tensor<2x128xf32>, tensor<8x128xf32> -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// Somebody else reads the channels.

// CHECK: error: pruning found no FFN
// CHECK-NEXT: 'down': what it reads of an linalg.generic is read by an func.return, too

func.func @main(%x: tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x128xf32>) {
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
  return %y, %b : tensor<2x8xf32>, tensor<2x128xf32>
}

// -----

// Numbers of 8 bits are no floats any more.

// CHECK: error: pruning found no FFN
// CHECK-NEXT: 'down': of 'up' (edge.linear), which it reads, its weight is quantized; prune before quantizing
func.func @main(%x: tensor<2x32xf32>) -> tensor<2x8xf32> {
  %up = edge.weight "up" {value = dense<1> : tensor<64x1x32xi8>} : tensor<64x1x32xi8>
  %scales = edge.weight "scales" {value = dense<1.0> : tensor<64x1xf32>} : tensor<64x1xf32>
  %down = edge.weight "down" {value = dense<3.0> : tensor<8x64xf32>} : tensor<8x64xf32>
  %a = edge.linear %x, %up scales(%scales : tensor<64x1xf32>) {quantization = #edge.quantization<bits = 8, group = 0, scale = f32>}
      : tensor<2x32xf32>, tensor<64x1x32xi8> -> tensor<2x64xf32>
  %empty = tensor.empty() : tensor<2x64xf32>
  %b = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      ins(%a : tensor<2x64xf32>) outs(%empty : tensor<2x64xf32>) {
  ^bb0(%p: f32, %r: f32):
    %s = math.tanh %p : f32
    linalg.yield %s : f32
  } -> tensor<2x64xf32>
  %y = edge.linear %b, %down : tensor<2x64xf32>, tensor<8x64xf32> -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// A table that is a weight of the MLP, too, would lose rows that others look up.

// CHECK: error: pruning found no FFN
// CHECK-NEXT: 'down': the weight of 'up' (edge.linear) is read by
func.func @main(%x: tensor<2x8xf32>, %ids: tensor<2xi64>) -> (tensor<2x8xf32>, tensor<2x8xf32>) {
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
  %rows = edge.embedding %ids, %up : tensor<2xi64>, tensor<128x8xf32> -> tensor<2x8xf32>
  return %y, %rows : tensor<2x8xf32>, tensor<2x8xf32>
}

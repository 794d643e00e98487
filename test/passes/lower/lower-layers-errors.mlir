// RUN: edgecc-opt %s --split-input-file --verify-diagnostics --pass-pipeline='builtin.module(func.func(edge-lower-layers))'

func.func @epilogue_captures(%x: tensor<1x8xf32>, %w: tensor<1x8x16xf32>, %c: f32) -> tensor<1x16xf32> {
  // expected-error @+1 {{has an epilogue that captures a value which is no constant}}
  %r = edge.linear %x, %w {layout = 2 : i32} : tensor<1x8xf32>, tensor<1x8x16xf32> -> tensor<1x16xf32> {
  ^bb0(%s: f32):
    %0 = arith.addf %s, %c : f32
    edge.yield %0 : f32
  }
  return %r : tensor<1x16xf32>
}

// -----

func.func @weight_type(%x: tensor<1x8xf32>, %w: tensor<1x8x16xi8>) -> tensor<1x16xf32> {
  // expected-error @+1 {{has no kernel for weights of type 'i8'}}
  %r = edge.linear %x, %w {layout = 2 : i32} : tensor<1x8xf32>, tensor<1x8x16xi8> -> tensor<1x16xf32>
  return %r : tensor<1x16xf32>
}

// RUN: edgecc-opt %s --split-input-file --verify-diagnostics --edge-pack-weights

func.func @descends(%x: tensor<1x16xf32>) -> tensor<1x2xf32> {
  %w = edge.weight "w" {value = dense<1> : tensor<2x1x16xi8>} : tensor<2x1x16xi8>
  %s = edge.weight "s" {value = dense<[[1.0], [2.0]]> : tensor<2x1xf32>} : tensor<2x1xf32>
  %i = edge.weight "i" {value = dense<[3, 1]> : tensor<2xi32>} : tensor<2xi32>
  %o = edge.weight "o" {value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf16>} : tensor<2x2xf16>
  // expected-error @+1 {{weight 'o': outlier 1 is input channel 1; the indices must ascend and be less than 16}}
  %y = edge.linear %x, %w scales(%s : tensor<2x1xf32>) outliers(%i, %o : tensor<2xi32>, tensor<2x2xf16>)
      {quantization = #edge.quantization<bits = 8, group = 0, scale = f32>} : tensor<1x16xf32>, tensor<2x1x16xi8> -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

func.func @beyond(%x: tensor<1x16xf32>) -> tensor<1x2xf32> {
  %w = edge.weight "w" {value = dense<1> : tensor<2x1x16xi8>} : tensor<2x1x16xi8>
  %s = edge.weight "s" {value = dense<[[1.0], [2.0]]> : tensor<2x1xf32>} : tensor<2x1xf32>
  %i = edge.weight "i" {value = dense<[3, 16]> : tensor<2xi32>} : tensor<2xi32>
  %o = edge.weight "o" {value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf16>} : tensor<2x2xf16>
  // expected-error @+1 {{outlier 1 is input channel 16; the indices must ascend and be less than 16}}
  %y = edge.linear %x, %w scales(%s : tensor<2x1xf32>) outliers(%i, %o : tensor<2xi32>, tensor<2x2xf16>)
      {quantization = #edge.quantization<bits = 8, group = 0, scale = f32>} : tensor<1x16xf32>, tensor<2x1x16xi8> -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

func.func @computed(%x: tensor<1x16xf32>, %i: tensor<1xi32>) -> tensor<1x2xf32> {
  %w = edge.weight "w" {value = dense<1> : tensor<2x1x16xi8>} : tensor<2x1x16xi8>
  %s = edge.weight "s" {value = dense<[[1.0], [2.0]]> : tensor<2x1xf32>} : tensor<2x1xf32>
  %o = edge.weight "o" {value = dense<[[1.0], [3.0]]> : tensor<2x1xf16>} : tensor<2x1xf16>
  // expected-error @+1 {{has outliers that are computed; their indices and weights must be constants}}
  %y = edge.linear %x, %w scales(%s : tensor<2x1xf32>) outliers(%i, %o : tensor<1xi32>, tensor<2x1xf16>)
      {quantization = #edge.quantization<bits = 8, group = 0, scale = f32>} : tensor<1x16xf32>, tensor<2x1x16xi8> -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

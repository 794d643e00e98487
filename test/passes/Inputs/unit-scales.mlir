// CHECK-LABEL: @ones
// CHECK-SAME: %[[X:.*]]: tensor<2x8xf32>
// CHECK: edge.rms_norm %[[X]] {epsilon = 5.000000e-01 : f32}
func.func @ones(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %g = edge.weight "g" {value = dense<1.0> : tensor<8xf32>} : tensor<8xf32>
  %0 = edge.rms_norm %x, %g : tensor<8xf32> {epsilon = 0.5 : f32} : tensor<2x8xf32> -> tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}

// CHECK-LABEL: @twos
// CHECK: edge.rms_norm %{{.*}}, %{{.*}} : tensor<8xf32>
func.func @twos(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %g = edge.weight "g" {value = dense<2.0> : tensor<8xf32>} : tensor<8xf32>
  %0 = edge.rms_norm %x, %g : tensor<8xf32> {epsilon = 0.5 : f32} : tensor<2x8xf32> -> tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}

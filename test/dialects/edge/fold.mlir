// RUN: edgecc-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: @reshape_to_itself
// CHECK-NOT: edge.reshape
func.func @reshape_to_itself(%x: tensor<6xf32>) -> tensor<6xf32> {
  %0 = edge.reshape %x : tensor<6xf32> -> tensor<6xf32>
  return %0 : tensor<6xf32>
}

// A view of a view is a view of what is below.
// CHECK-LABEL: @reshape_twice
// CHECK-SAME: (%[[X:.*]]: tensor<2x6xf32>)
// CHECK-NEXT: %[[R:.*]] = edge.reshape %[[X]] : tensor<2x6xf32> -> tensor<3x4xf32>
// CHECK-NEXT: return %[[R]]
func.func @reshape_twice(%x: tensor<2x6xf32>) -> tensor<3x4xf32> {
  %0 = edge.reshape %x : tensor<2x6xf32> -> tensor<12xf32>
  %1 = edge.reshape %0 : tensor<12xf32> -> tensor<3x4xf32>
  return %1 : tensor<3x4xf32>
}

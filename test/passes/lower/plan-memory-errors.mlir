// RUN: edgecc-opt %s --edge-plan-memory --split-input-file --verify-diagnostics

// A state that comes back from a kernel as a result of its own would have to be copied in each call.
// expected-error @+1 {{state 0 is not updated in place: result 0 does not come from it by in-place kernels}}
func.func @main(%s: tensor<8xf32> {edge.name = "s", edge.element = "f32", edge.state = 0 : i64}) -> (tensor<8xf32> {edge.state = 0 : i64}) {
  %0 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%s : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  return %0 : tensor<8xf32>
}

// -----

// Two states must not change places.
// expected-error @+1 {{state 0 is not updated in place: result 0}}
func.func @main(%s: tensor<8xf32> {edge.name = "s", edge.element = "f32", edge.state = 0 : i64}, %t: tensor<8xf32> {edge.name = "t", edge.element = "f32", edge.state = 1 : i64})
    -> (tensor<8xf32> {edge.state = 0 : i64}, tensor<8xf32> {edge.state = 1 : i64}) {
  return %t, %s : tensor<8xf32>, tensor<8xf32>
}

// -----

// Read after the update, the state would be copied before it, and the copy, not the state, come back.
// expected-error @+1 {{state 0 is not updated in place: result 0}}
func.func @main(%s: tensor<8xf32> {edge.name = "s", edge.element = "f32", edge.state = 0 : i64}) -> (tensor<8xf32> {edge.state = 0 : i64}, tensor<8xf32> {edge.name = "y", edge.element = "f32"}) {
  %0 = edge.kernel "update" tasks affine_map<() -> (1)> inouts(%s : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %inout: memref<8xf32>):
  }
  %1 = edge.kernel "read" tasks affine_map<() -> (1)> ins(%s : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  return %0, %1 : tensor<8xf32>, tensor<8xf32>
}

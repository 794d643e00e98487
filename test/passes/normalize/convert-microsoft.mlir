// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// Grouped heads over caches, packed projections, rotation at the cache's position, a local window.
// CHECK-LABEL: func.func @main
// CHECK: edge.rope
// CHECK: %[[R:.*]] = edge.rope
// CHECK: %[[K:.*]] = edge.append %{{.*}}, %[[R]] at
// CHECK: %[[V:.*]] = edge.append
// CHECK: edge.attention %{{.*}}, %[[K]], %[[V]] {causal = true, key_heads_first
// CHECK-SAME: window = 5
func.func @main(%x: tensor<?x?x32xf32> {onnx.name = "inputs_embeds", onnx.dims = ["batch", "sequence", ""]},
                %pk: tensor<?x1x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %pv: tensor<?x1x?x8xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]},
                %cos: tensor<64x4xf32> {onnx.name = "cos"}, %sin: tensor<64x4xf32> {onnx.name = "sin"},
                %lengths: tensor<?xi32> {onnx.name = "lengths", onnx.dims = ["batch"]}, %total: tensor<i32> {onnx.name = "total"})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "present.0.key"}, tensor<*xf32> {onnx.name = "present.0.value"}) {
  %none = onnx.none : none
  %0:3 = onnx.node "GroupQueryAttention"(%x, %none, %none, %pk, %pv, %lengths, %total, %cos, %sin) {name = "gqa", domain = "com.microsoft", version = 1 : i64,
      params = {num_heads = 2 : i64, kv_num_heads = 1 : i64, do_rotary = 1 : i64, local_window_size = 5 : i64}}
      : (tensor<?x?x32xf32>, none, none, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?xi32>, tensor<i32>, tensor<64x4xf32>, tensor<64x4xf32>)
      -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return %0#0, %0#1, %0#2 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// Caches that come as buffers of 16 positions: each batch element's rows go where its own length says, and a mask by row hides
// what lies behind. Nothing is kept in a session.
// CHECK-LABEL: func.func @main
// CHECK: edge.embedding
// CHECK: edge.rope
// CHECK: %[[K:.*]] = edge.kernel "tensor_scatter"
// CHECK: %[[V:.*]] = edge.kernel "tensor_scatter"
// CHECK: edge.attention %{{.*}}, %{{.*}}, %{{.*}} mask(%{{.*}} : tensor<2x1x1x16xi1>) {key_heads_first
// CHECK: return %{{.*}} : tensor<2x1x16xf32>, tensor<2x1x16x8xf32>, tensor<2x1x16x8xf32>
func.func @main(%x: tensor<2x1x32xf32> {onnx.name = "x"}, %pk: tensor<2x1x16x8xf32> {onnx.name = "key"}, %pv: tensor<2x1x16x8xf32> {onnx.name = "value"},
                %cos: tensor<64x4xf32> {onnx.name = "cos"}, %sin: tensor<64x4xf32> {onnx.name = "sin"},
                %lengths: tensor<2xi32> {onnx.name = "lengths"}, %total: tensor<i32> {onnx.name = "total"})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "next_key"}, tensor<*xf32> {onnx.name = "next_value"}) {
  %none = onnx.none : none
  %0:3 = onnx.node "GroupQueryAttention"(%x, %none, %none, %pk, %pv, %lengths, %total, %cos, %sin) {name = "gqa", domain = "com.microsoft", version = 1 : i64,
      params = {num_heads = 2 : i64, kv_num_heads = 1 : i64, do_rotary = 1 : i64}}
      : (tensor<2x1x32xf32>, none, none, tensor<2x1x16x8xf32>, tensor<2x1x16x8xf32>, tensor<2xi32>, tensor<i32>, tensor<64x4xf32>, tensor<64x4xf32>)
      -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return %0#0, %0#1, %0#2 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// The weights stay as they are: one linear layer over [width, 3 * width].
// CHECK-LABEL: func.func @main
// CHECK: edge.linear %{{.*}} {layout = 1 : i32}
// CHECK: edge.attention {{.*}} {causal = true
func.func @main(%x: tensor<1x3x4xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %w = onnx.constant {name = "w", value = dense<0.5> : tensor<4x12xf32>} : tensor<4x12xf32>
  %b = onnx.constant {name = "b", value = dense<0.5> : tensor<12xf32>} : tensor<12xf32>
  %0 = onnx.node "Attention"(%x, %w, %b) {name = "attention", domain = "com.microsoft", version = 1 : i64, params = {num_heads = 2 : i64, unidirectional = 1 : i64}}
      : (tensor<1x3x4xf32>, tensor<4x12xf32>, tensor<12xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// The sum is an output, too.
// CHECK-LABEL: func.func @main
// CHECK: %[[S:.*]] = linalg.generic
// CHECK: %[[N:.*]] = edge.rms_norm %[[S]]
// CHECK: return %[[N]], %[[S]]
func.func @main(%x: tensor<1x3x4xf32> {onnx.name = "x"}, %y: tensor<1x3x4xf32> {onnx.name = "y"}, %g: tensor<4xf32> {onnx.name = "g"})
    -> (tensor<*xf32> {onnx.name = "n"}, tensor<*xf32> {onnx.name = "s"}) {
  %0:4 = onnx.node "SkipSimplifiedLayerNormalization"(%x, %y, %g) {name = "skip", domain = "com.microsoft", version = 1 : i64}
      : (tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<4xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return %0#0, %0#3 : tensor<*xf32>, tensor<*xf32>
}

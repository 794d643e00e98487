// RUN: edgecc-opt %s --edge-convert-onnx --split-input-file | FileCheck %s

// Rank 3: heads are split without a copy; past keys stand in front, and causal counts from them.
// CHECK-DAG: #[[LENGTH:.*]] = affine_map<() -> (7)>
// CHECK-DAG: #[[OFFSET:.*]] = affine_map<() -> (4)>
// CHECK-LABEL: func.func @main
// CHECK: %[[K:[^ ]*]] = edge.kernel "concat_tokens"
// CHECK: %[[V:[^ ]*]] = edge.kernel "concat_tokens"
// CHECK: edge.attention %{{.*}}, %[[K]], %[[V]] {causal = true, key_heads_first, length = #[[LENGTH]], offset = #[[OFFSET]]
func.func @main(%q: tensor<1x3x16xf32> {onnx.name = "q"}, %k: tensor<1x3x8xf32> {onnx.name = "k"}, %v: tensor<1x3x8xf32> {onnx.name = "v"},
                %pk: tensor<1x1x4x8xf32> {onnx.name = "pk"}, %pv: tensor<1x1x4x8xf32> {onnx.name = "pv"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %none = onnx.none : none
  %0 = onnx.node "Attention"(%q, %k, %v, %none, %pk, %pv) {name = "a", version = 23 : i64, params = {q_num_heads = 2 : i64, kv_num_heads = 1 : i64, is_causal = 1 : i64}}
      : (tensor<1x3x16xf32>, tensor<1x3x8xf32>, tensor<1x3x8xf32>, none, tensor<1x1x4x8xf32>, tensor<1x1x4x8xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// Who looks at the scores gets them: separate steps.
// CHECK-LABEL: func.func @main
// CHECK-NOT: edge.attention
// CHECK: edge.softmax
func.func @main(%q: tensor<1x2x3x8xf32> {onnx.name = "q"}, %k: tensor<1x1x4x8xf32> {onnx.name = "k"})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "scores"}) {
  %none = onnx.none : none
  %0:4 = onnx.node "Attention"(%q, %k, %k) {name = "a", version = 23 : i64, params = {qk_matmul_output_mode = 3 : i64}}
      : (tensor<1x2x3x8xf32>, tensor<1x1x4x8xf32>, tensor<1x1x4x8xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return %0#0, %0#3 : tensor<*xf32>, tensor<*xf32>
}

// -----

// A mask that ends before the keys do hides the rest.
// CHECK-LABEL: func.func @main
// CHECK: %[[M:.*]] = linalg.generic
// CHECK: edge.attention {{.*}} mask(%[[M]] : tensor<3x4xi1>)
func.func @main(%q: tensor<1x2x3x8xf32> {onnx.name = "q"}, %k: tensor<1x2x4x8xf32> {onnx.name = "k"}, %m: tensor<3x2xi1> {onnx.name = "m"})
    -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Attention"(%q, %k, %k, %m) {name = "a", version = 24 : i64} : (tensor<1x2x3x8xf32>, tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>, tensor<3x2xi1>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

// Rows of the tables are looked up; heads are split as num_heads says.
// CHECK-LABEL: func.func @main
// CHECK: %[[C:.*]] = edge.embedding
// CHECK: edge.rope %{{.*}}, %[[C]], %{{.*}} {interleaved} : tensor<1x3x2x8xf32>, tensor<1x3x4xf32> -> tensor<1x3x2x8xf32>
func.func @main(%x: tensor<1x3x16xf32> {onnx.name = "x"}, %c: tensor<10x4xf32> {onnx.name = "c"}, %s: tensor<10x4xf32> {onnx.name = "s"}, %p: tensor<1x3xi64> {onnx.name = "p"})
    -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "RotaryEmbedding"(%x, %c, %s, %p) {name = "r", version = 23 : i64, params = {num_heads = 2 : i64, interleaved = 1 : i64}}
      : (tensor<1x3x16xf32>, tensor<10x4xf32>, tensor<10x4xf32>, tensor<1x3xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

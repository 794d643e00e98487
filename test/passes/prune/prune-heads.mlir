// RUN: edgecc-opt %s -split-input-file "--edge-prune-heads=share=0.5 importance=magnitude compensation=none" 2>&1 | FileCheck %s

// Four query heads of two elements read two KV heads. The second KV head does more: the first goes with the heads 0 and 1 that
// read it, with its half of the caches, and with the bias of its values. The norm of single keys stays as it is.

// CHECK: remark: 'out': 1 of 2 KV heads are left, 768 to 384 bytes
// CHECK: remark: 'out': 1 of 2 KV heads are left, 1024 to 512 bytes
// CHECK: module
// CHECK-SAME: scheme = "pruned heads 2 to 1"
// CHECK-LABEL: @main
// CHECK-SAME: tensor<1x1x16x2xf32>
// CHECK-SAME: tensor<1x1x16x2xf32>
// CHECK: edge.weight "scale" {value = dense<1.000000e+00> : tensor<2xf32>}
// CHECK: edge.linear {{.*}} tensor<1x3x8xf32>, tensor<4x8xf32> -> tensor<1x3x4xf32>
// CHECK: edge.rms_norm {{.*}} -> tensor<1x3x1x2xf32>
// CHECK: edge.weight "bias" {value = dense<[7.000000e+00, 8.000000e+00]> : tensor<2xf32>}
// CHECK: edge.attention {{.*}} : tensor<1x3x2x2xf32>, tensor<1x1x16x2xf32>, tensor<1x1x16x2xf32> -> tensor<1x3x2x2xf32>
// CHECK: edge.linear {{.*}} tensor<1x3x4xf32>, tensor<8x4xf32> -> tensor<1x3x8xf32>
// CHECK: return {{.*}} : tensor<1x3x8xf32>, tensor<1x1x16x2xf32>, tensor<1x1x16x2xf32>
module {
  func.func @main(%x: tensor<1x3x8xf32>, %k: tensor<1x2x16x2xf32> {edge.state = 0}, %v: tensor<1x2x16x2xf32> {edge.state = 1})
      -> (tensor<1x3x8xf32>, tensor<1x2x16x2xf32> {edge.state = 0}, tensor<1x2x16x2xf32> {edge.state = 1}) {
    %wq = edge.weight "q" {value = dense<1.0> : tensor<8x8xf32>} : tensor<8x8xf32>
    %wk = edge.weight "k" {value = dense<1.0> : tensor<4x8xf32>} : tensor<4x8xf32>
    %wv = edge.weight "v" {value = dense<[[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                                         [2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<4x8xf32>} : tensor<4x8xf32>
    %wo = edge.weight "out" {value = dense<1.0> : tensor<8x8xf32>} : tensor<8x8xf32>
    %bias = edge.weight "bias" {value = dense<[5.0, 6.0, 7.0, 8.0]> : tensor<4xf32>} : tensor<4xf32>
    %scale = edge.weight "scale" {value = dense<1.0> : tensor<2xf32>} : tensor<2xf32>
    %q = edge.linear %x, %wq : tensor<1x3x8xf32>, tensor<8x8xf32> -> tensor<1x3x8xf32>
    %qs = edge.reshape %q : tensor<1x3x8xf32> -> tensor<1x3x4x2xf32>
    %kf = edge.linear %x, %wk : tensor<1x3x8xf32>, tensor<4x8xf32> -> tensor<1x3x4xf32>
    %ks = edge.reshape %kf : tensor<1x3x4xf32> -> tensor<1x3x2x2xf32>
    %kn = edge.rms_norm %ks, %scale : tensor<2xf32> {epsilon = 0.5 : f32} : tensor<1x3x2x2xf32> -> tensor<1x3x2x2xf32>
    %vf = edge.linear %x, %wv : tensor<1x3x8xf32>, tensor<4x8xf32> -> tensor<1x3x4xf32>
    %empty = tensor.empty() : tensor<1x3x4xf32>
    %vb = linalg.generic {indexing_maps = [affine_map<(a, b, c) -> (a, b, c)>, affine_map<(a, b, c) -> (c)>, affine_map<(a, b, c) -> (a, b, c)>],
                          iterator_types = ["parallel", "parallel", "parallel"]} ins(%vf, %bias : tensor<1x3x4xf32>, tensor<4xf32>) outs(%empty : tensor<1x3x4xf32>) {
    ^bb0(%p: f32, %q0: f32, %r: f32):
      %s = arith.addf %p, %q0 : f32
      linalg.yield %s : f32
    } -> tensor<1x3x4xf32>
    %vs = edge.reshape %vb : tensor<1x3x4xf32> -> tensor<1x3x2x2xf32>
    %knext = edge.append %k, %kn at affine_map<() -> (0)> : tensor<1x2x16x2xf32>, tensor<1x3x2x2xf32> -> tensor<1x2x16x2xf32>
    %vnext = edge.append %v, %vs at affine_map<() -> (0)> : tensor<1x2x16x2xf32>, tensor<1x3x2x2xf32> -> tensor<1x2x16x2xf32>
    %a = edge.attention %qs, %knext, %vnext {scale = 1.0 : f32, length = affine_map<() -> (3)>, offset = affine_map<() -> (0)>, causal = true, key_heads_first}
        : tensor<1x3x4x2xf32>, tensor<1x2x16x2xf32>, tensor<1x2x16x2xf32> -> tensor<1x3x4x2xf32>
    %flat = edge.reshape %a : tensor<1x3x4x2xf32> -> tensor<1x3x8xf32>
    %y = edge.linear %flat, %wo : tensor<1x3x8xf32>, tensor<8x8xf32> -> tensor<1x3x8xf32>
    return %y, %knext, %vnext : tensor<1x3x8xf32>, tensor<1x2x16x2xf32>, tensor<1x2x16x2xf32>
  }
}

// -----

// Heads that stand first, between transposes.

// CHECK-LABEL: @main
// CHECK: linalg.generic {{.*}} outs({{.*}} : tensor<1x1x3x4xf32>)
// CHECK: edge.attention {{.*}} : tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32> -> tensor<1x1x3x4xf32>
// CHECK: edge.linear {{.*}} tensor<1x3x4xf32>, tensor<8x4xf32> -> tensor<1x3x8xf32>
module {
  func.func @main(%x: tensor<1x3x8xf32>) -> tensor<1x3x8xf32> {
    %wq = edge.weight "q" {value = dense<1.0> : tensor<8x8xf32>} : tensor<8x8xf32>
    %wk = edge.weight "k" {value = dense<2.0> : tensor<8x8xf32>} : tensor<8x8xf32>
    %wv = edge.weight "v" {value = dense<3.0> : tensor<8x8xf32>} : tensor<8x8xf32>
    %wo = edge.weight "out" {value = dense<4.0> : tensor<8x8xf32>} : tensor<8x8xf32>
    %q = edge.linear %x, %wq : tensor<1x3x8xf32>, tensor<8x8xf32> -> tensor<1x3x8xf32>
    %k = edge.linear %x, %wk : tensor<1x3x8xf32>, tensor<8x8xf32> -> tensor<1x3x8xf32>
    %v = edge.linear %x, %wv : tensor<1x3x8xf32>, tensor<8x8xf32> -> tensor<1x3x8xf32>
    %q4 = edge.reshape %q : tensor<1x3x8xf32> -> tensor<1x3x2x4xf32>
    %k4 = edge.reshape %k : tensor<1x3x8xf32> -> tensor<1x3x2x4xf32>
    %v4 = edge.reshape %v : tensor<1x3x8xf32> -> tensor<1x3x2x4xf32>
    %empty = tensor.empty() : tensor<1x2x3x4xf32>
    %qt = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, c, b, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>],
                          iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%q4 : tensor<1x3x2x4xf32>) outs(%empty : tensor<1x2x3x4xf32>) {
    ^bb0(%p: f32, %r: f32):
      linalg.yield %p : f32
    } -> tensor<1x2x3x4xf32>
    %kt = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, c, b, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>],
                          iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%k4 : tensor<1x3x2x4xf32>) outs(%empty : tensor<1x2x3x4xf32>) {
    ^bb0(%p: f32, %r: f32):
      linalg.yield %p : f32
    } -> tensor<1x2x3x4xf32>
    %vt = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, c, b, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>],
                          iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%v4 : tensor<1x3x2x4xf32>) outs(%empty : tensor<1x2x3x4xf32>) {
    ^bb0(%p: f32, %r: f32):
      linalg.yield %p : f32
    } -> tensor<1x2x3x4xf32>
    %a = edge.attention %qt, %kt, %vt {scale = 1.0 : f32, length = affine_map<() -> (3)>, offset = affine_map<() -> (0)>, query_heads_first, key_heads_first, result_heads_first}
        : tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32> -> tensor<1x2x3x4xf32>
    %other = tensor.empty() : tensor<1x3x2x4xf32>
    %at = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, c, b, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>],
                          iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%a : tensor<1x2x3x4xf32>) outs(%other : tensor<1x3x2x4xf32>) {
    ^bb0(%p: f32, %r: f32):
      linalg.yield %p : f32
    } -> tensor<1x3x2x4xf32>
    %flat = edge.reshape %at : tensor<1x3x2x4xf32> -> tensor<1x3x8xf32>
    %y = edge.linear %flat, %wo : tensor<1x3x8xf32>, tensor<8x8xf32> -> tensor<1x3x8xf32>
    return %y : tensor<1x3x8xf32>
  }
}

// Three layers of attention and nothing else, a cache each, and a tied head.
#ids = affine_map<()[s0] -> (1, s0)>
#h = affine_map<()[s0] -> (1, s0, 16)>
#q = affine_map<()[s0] -> (1, s0, 1, 16)>
#s = affine_map<()[s0, s1, s2] -> (1, 1, s2, 16)>
#logits = affine_map<()[s0] -> (1, s0, 32)>
#past = affine_map<()[s0, s1] -> (s1)>
#total = affine_map<()[s0, s1] -> (s0 + s1)>
#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
module attributes {edge.symbols = [#edge.symbol<"sequence", 1, 64, free>, #edge.symbol<"past", 0, 128, position>, #edge.symbol<"context", 1, 128, capacity>]} {
func.func @main(%ids: tensor<1x?xi64, #ids> {edge.name = "ids", edge.element = "i64"},
    %k0: tensor<1x1x?x16xf32, #s> {edge.name = "k0", edge.element = "f32", edge.state = 0 : i64},
    %v0: tensor<1x1x?x16xf32, #s> {edge.name = "v0", edge.element = "f32", edge.state = 1 : i64},
    %k1: tensor<1x1x?x16xf32, #s> {edge.name = "k1", edge.element = "f32", edge.state = 2 : i64},
    %v1: tensor<1x1x?x16xf32, #s> {edge.name = "v1", edge.element = "f32", edge.state = 3 : i64},
    %k2: tensor<1x1x?x16xf32, #s> {edge.name = "k2", edge.element = "f32", edge.state = 4 : i64},
    %v2: tensor<1x1x?x16xf32, #s> {edge.name = "v2", edge.element = "f32", edge.state = 5 : i64})
    -> (tensor<1x?x32xf32, #logits> {edge.name = "logits", edge.element = "f32"},
    tensor<1x1x?x16xf32, #s> {edge.state = 0 : i64},
    tensor<1x1x?x16xf32, #s> {edge.state = 1 : i64},
    tensor<1x1x?x16xf32, #s> {edge.state = 2 : i64},
    tensor<1x1x?x16xf32, #s> {edge.state = 3 : i64},
    tensor<1x1x?x16xf32, #s> {edge.state = 4 : i64},
    tensor<1x1x?x16xf32, #s> {edge.state = 5 : i64}) attributes {edge.advance = affine_map<()[s0] -> (s0)>} {
  %n = edge.dim 0
  %table = edge.weight "table" {value = dense<1.0> : tensor<32x16xf32>} : tensor<32x16xf32>
  %w = edge.weight "w" {value = dense<1.0> : tensor<16x16xf32>} : tensor<16x16xf32>
  %scale = edge.weight "scale" {value = dense<1.0> : tensor<16xf32>} : tensor<16xf32>
  %h0 = edge.embedding %ids, %table : tensor<1x?xi64, #ids>, tensor<32x16xf32> -> tensor<1x?x16xf32, #h>
  %x0 = edge.rms_norm %h0, %scale : tensor<16xf32> {epsilon = 1.0e-5 : f32} : tensor<1x?x16xf32, #h> -> tensor<1x?x16xf32, #h>
  %qp0 = edge.linear %x0, %w : tensor<1x?x16xf32, #h>, tensor<16x16xf32> -> tensor<1x?x16xf32, #h>
  %qr0 = edge.reshape %qp0 : tensor<1x?x16xf32, #h> -> tensor<1x?x1x16xf32, #q>
  %kp0 = edge.linear %x0, %w : tensor<1x?x16xf32, #h>, tensor<16x16xf32> -> tensor<1x?x16xf32, #h>
  %kr0 = edge.reshape %kp0 : tensor<1x?x16xf32, #h> -> tensor<1x?x1x16xf32, #q>
  %vp0 = edge.linear %x0, %w : tensor<1x?x16xf32, #h>, tensor<16x16xf32> -> tensor<1x?x16xf32, #h>
  %vr0 = edge.reshape %vp0 : tensor<1x?x16xf32, #h> -> tensor<1x?x1x16xf32, #q>
  %kn0 = edge.append %k0, %kr0 at #past : tensor<1x1x?x16xf32, #s>, tensor<1x?x1x16xf32, #q> -> tensor<1x1x?x16xf32, #s>
  %vn0 = edge.append %v0, %vr0 at #past : tensor<1x1x?x16xf32, #s>, tensor<1x?x1x16xf32, #q> -> tensor<1x1x?x16xf32, #s>
  %a0 = edge.attention %qr0, %kn0, %vn0 {causal = true, key_heads_first, length = #total, offset = #past, scale = 0.25 : f32} : tensor<1x?x1x16xf32, #q>, tensor<1x1x?x16xf32, #s>, tensor<1x1x?x16xf32, #s> -> tensor<1x?x1x16xf32, #q>
  %r0 = edge.reshape %a0 : tensor<1x?x1x16xf32, #q> -> tensor<1x?x16xf32, #h>
  %e0 = tensor.empty(%n) : tensor<1x?x16xf32, #h>
  %h1 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%h0, %r0 : tensor<1x?x16xf32, #h>, tensor<1x?x16xf32, #h>) outs(%e0 : tensor<1x?x16xf32, #h>) {
  ^bb0(%x: f32, %y: f32, %out: f32):
    %sum = arith.addf %x, %y : f32
    linalg.yield %sum : f32
  } -> tensor<1x?x16xf32, #h>
  %x1 = edge.rms_norm %h1, %scale : tensor<16xf32> {epsilon = 1.0e-5 : f32} : tensor<1x?x16xf32, #h> -> tensor<1x?x16xf32, #h>
  %qp1 = edge.linear %x1, %w : tensor<1x?x16xf32, #h>, tensor<16x16xf32> -> tensor<1x?x16xf32, #h>
  %qr1 = edge.reshape %qp1 : tensor<1x?x16xf32, #h> -> tensor<1x?x1x16xf32, #q>
  %kp1 = edge.linear %x1, %w : tensor<1x?x16xf32, #h>, tensor<16x16xf32> -> tensor<1x?x16xf32, #h>
  %kr1 = edge.reshape %kp1 : tensor<1x?x16xf32, #h> -> tensor<1x?x1x16xf32, #q>
  %vp1 = edge.linear %x1, %w : tensor<1x?x16xf32, #h>, tensor<16x16xf32> -> tensor<1x?x16xf32, #h>
  %vr1 = edge.reshape %vp1 : tensor<1x?x16xf32, #h> -> tensor<1x?x1x16xf32, #q>
  %kn1 = edge.append %k1, %kr1 at #past : tensor<1x1x?x16xf32, #s>, tensor<1x?x1x16xf32, #q> -> tensor<1x1x?x16xf32, #s>
  %vn1 = edge.append %v1, %vr1 at #past : tensor<1x1x?x16xf32, #s>, tensor<1x?x1x16xf32, #q> -> tensor<1x1x?x16xf32, #s>
  %a1 = edge.attention %qr1, %kn1, %vn1 {causal = true, key_heads_first, length = #total, offset = #past, scale = 0.25 : f32} : tensor<1x?x1x16xf32, #q>, tensor<1x1x?x16xf32, #s>, tensor<1x1x?x16xf32, #s> -> tensor<1x?x1x16xf32, #q>
  %r1 = edge.reshape %a1 : tensor<1x?x1x16xf32, #q> -> tensor<1x?x16xf32, #h>
  %e1 = tensor.empty(%n) : tensor<1x?x16xf32, #h>
  %h2 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%h1, %r1 : tensor<1x?x16xf32, #h>, tensor<1x?x16xf32, #h>) outs(%e1 : tensor<1x?x16xf32, #h>) {
  ^bb0(%x: f32, %y: f32, %out: f32):
    %sum = arith.addf %x, %y : f32
    linalg.yield %sum : f32
  } -> tensor<1x?x16xf32, #h>
  %x2 = edge.rms_norm %h2, %scale : tensor<16xf32> {epsilon = 1.0e-5 : f32} : tensor<1x?x16xf32, #h> -> tensor<1x?x16xf32, #h>
  %qp2 = edge.linear %x2, %w : tensor<1x?x16xf32, #h>, tensor<16x16xf32> -> tensor<1x?x16xf32, #h>
  %qr2 = edge.reshape %qp2 : tensor<1x?x16xf32, #h> -> tensor<1x?x1x16xf32, #q>
  %kp2 = edge.linear %x2, %w : tensor<1x?x16xf32, #h>, tensor<16x16xf32> -> tensor<1x?x16xf32, #h>
  %kr2 = edge.reshape %kp2 : tensor<1x?x16xf32, #h> -> tensor<1x?x1x16xf32, #q>
  %vp2 = edge.linear %x2, %w : tensor<1x?x16xf32, #h>, tensor<16x16xf32> -> tensor<1x?x16xf32, #h>
  %vr2 = edge.reshape %vp2 : tensor<1x?x16xf32, #h> -> tensor<1x?x1x16xf32, #q>
  %kn2 = edge.append %k2, %kr2 at #past : tensor<1x1x?x16xf32, #s>, tensor<1x?x1x16xf32, #q> -> tensor<1x1x?x16xf32, #s>
  %vn2 = edge.append %v2, %vr2 at #past : tensor<1x1x?x16xf32, #s>, tensor<1x?x1x16xf32, #q> -> tensor<1x1x?x16xf32, #s>
  %a2 = edge.attention %qr2, %kn2, %vn2 {causal = true, key_heads_first, length = #total, offset = #past, scale = 0.25 : f32} : tensor<1x?x1x16xf32, #q>, tensor<1x1x?x16xf32, #s>, tensor<1x1x?x16xf32, #s> -> tensor<1x?x1x16xf32, #q>
  %r2 = edge.reshape %a2 : tensor<1x?x1x16xf32, #q> -> tensor<1x?x16xf32, #h>
  %e2 = tensor.empty(%n) : tensor<1x?x16xf32, #h>
  %h3 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%h2, %r2 : tensor<1x?x16xf32, #h>, tensor<1x?x16xf32, #h>) outs(%e2 : tensor<1x?x16xf32, #h>) {
  ^bb0(%x: f32, %y: f32, %out: f32):
    %sum = arith.addf %x, %y : f32
    linalg.yield %sum : f32
  } -> tensor<1x?x16xf32, #h>
  %norm = edge.rms_norm %h3, %scale : tensor<16xf32> {epsilon = 1.0e-5 : f32} : tensor<1x?x16xf32, #h> -> tensor<1x?x16xf32, #h>
  %logits = edge.linear %norm, %table : tensor<1x?x16xf32, #h>, tensor<32x16xf32> -> tensor<1x?x32xf32, #logits>
  return %logits, %kn0, %vn0, %kn1, %vn1, %kn2, %vn2 : tensor<1x?x32xf32, #logits>, tensor<1x1x?x16xf32, #s>, tensor<1x1x?x16xf32, #s>, tensor<1x1x?x16xf32, #s>, tensor<1x1x?x16xf32, #s>, tensor<1x1x?x16xf32, #s>, tensor<1x1x?x16xf32, #s>
}
}

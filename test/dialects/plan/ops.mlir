// RUN: edgecc-opt %s | edgecc-opt | FileCheck %s

module attributes {edge.symbols = [#edge.symbol<"tokens", 1, 64, free>, #edge.symbol<"past", 0, 128, position>, #edge.symbol<"context", 1, 128, capacity>]} {

// The tables of the file, each with what the runtime asks of it.
// CHECK: plan.model "small" attributes {facts = {licence = "none"}} {
// CHECK-NEXT: plan.state "cache" : "f16" #{{.*}}
// CHECK-NEXT: plan.weight "w" at 0 bytes 16 {value = dense<1.000000e+00> : tensor<4xf32>}
// CHECK-NEXT: plan.entry "decode" function @e arena 4096 advance #{{.*}} {
// CHECK-NEXT: plan.tensor "ids" : "i64" #{{.*}}
// CHECK-NEXT: plan.tensor output "logits" : "f32" #{{.*}}
// CHECK-NEXT: plan.step @step tasks #{{.*}} [#plan.place<input 0>, #plan.place<weights 64>, #plan.place<state 0>, #plan.place<arena 128>, #plan.place<output 0>]
plan.model "small" attributes {facts = {licence = "none"}} {
  plan.state "cache" : "f16" affine_map<()[s0, s1, s2] -> (1, 2, s2, 8)>
  plan.weight "w" at 0 bytes 16 {value = dense<1.0> : tensor<4xf32>}
  plan.entry "decode" function @e arena 4096 advance affine_map<()[s0] -> (s0)> {
    plan.tensor "ids" : "i64" affine_map<()[s0] -> (1, s0)>
    plan.tensor output "logits" : "f32" affine_map<()[s0] -> (1, s0, 32)>
    plan.step @step tasks affine_map<()[s0] -> (s0)>
        [#plan.place<input 0>, #plan.place<weights 64>, #plan.place<state 0>, #plan.place<arena 128>, #plan.place<output 0>]
  }
}

// Graphs without a cache move nothing on.
// CHECK: plan.model "plain" {
// CHECK-NEXT: plan.entry "main" function @e arena 0 {
plan.model "plain" {
  plan.entry "main" function @e arena 0 {
  }
}
llvm.func @e(!llvm.ptr)
}

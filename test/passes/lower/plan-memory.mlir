// RUN: edgecc-opt %s --edge-plan-memory --split-input-file | FileCheck %s

// Equal bodies become one function, wherever they stand; the other one differs in a constant.
// CHECK: plan.step @step_0.task tasks #{{.*}} [#plan.place<input 0>, #plan.place<arena 0>]
// CHECK-NEXT: plan.step @step_0.task tasks #{{.*}} [#plan.place<arena 0>, #plan.place<arena 64>]
// CHECK-NEXT: plan.step @step_1.task tasks #{{.*}} [#plan.place<arena 64>, #plan.place<output 0>]
// CHECK-NOT: @step_2
func.func @main(%x: tensor<8xf32> {edge.name = "x", edge.element = "f32"}) -> (tensor<8xf32> {edge.name = "y", edge.element = "f32"}) {
  %0 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%x : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
    %c = arith.constant 2.0 : f32
    %v = memref.load %in[%task] : memref<8xf32>
    %w = arith.mulf %v, %c : f32
    memref.store %w, %out[%task] : memref<8xf32>
  }
  %1 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%0 : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
    %c = arith.constant 2.0 : f32
    %v = memref.load %in[%task] : memref<8xf32>
    %w = arith.mulf %v, %c : f32
    memref.store %w, %out[%task] : memref<8xf32>
  }
  %2 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%1 : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
    %c = arith.constant 3.0 : f32
    %v = memref.load %in[%task] : memref<8xf32>
    %w = arith.mulf %v, %c : f32
    memref.store %w, %out[%task] : memref<8xf32>
  }
  return %2 : tensor<8xf32>
}

// -----

// Buffers that do not live at the same time share memory: of four in a row, two places for the intermediate ones. The last one is
// written to the caller's memory directly.
// CHECK: plan.entry "main" function @edgecc_entry_main arena 128 {
// CHECK-NEXT: plan.tensor "x" : "f32"
// CHECK-NEXT: plan.tensor output "y" : "f32"
// CHECK-NEXT: plan.step @step_0.task {{.*}} [#plan.place<input 0>, #plan.place<arena 0>]
// CHECK-NEXT: plan.step @step_0.task {{.*}} [#plan.place<arena 0>, #plan.place<arena 64>]
// CHECK-NEXT: plan.step @step_0.task {{.*}} [#plan.place<arena 64>, #plan.place<arena 0>]
// CHECK-NEXT: plan.step @step_0.task {{.*}} [#plan.place<arena 0>, #plan.place<output 0>]
// CHECK-NEXT: }
// CHECK-NOT: @copy
func.func @main(%x: tensor<8xf32> {edge.name = "x", edge.element = "f32"}) -> (tensor<8xf32> {edge.name = "y", edge.element = "f32"}) {
  %0 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%x : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  %1 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%0 : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  %2 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%1 : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  %3 = edge.kernel "step" tasks affine_map<() -> (4)> ins(%2 : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  return %3 : tensor<8xf32>
}

// -----

// Places are for the bounds: 100 tokens of 4 bytes, at multiples of 64.
// CHECK: arena 896 {
// CHECK: plan.step @c_0.task {{.*}} [#plan.place<arena 0>, #plan.place<arena 448>, #plan.place<output 0>]
module attributes {edge.symbols = [#edge.symbol<"tokens", 1, 100, free>]} {
func.func @main(%x: tensor<?xf32, affine_map<()[s0] -> (s0)>> {edge.name = "x", edge.element = "f32"}) -> (tensor<?xf32, affine_map<()[s0] -> (s0)>> {edge.name = "y", edge.element = "f32"}) {
  %0 = edge.kernel "a" tasks affine_map<() -> (1)> ins(%x : tensor<?xf32, affine_map<()[s0] -> (s0)>>) -> tensor<?xf32, affine_map<()[s0] -> (s0)>> {
  ^bb0(%task: index, %in: memref<?xf32>, %out: memref<?xf32>):
  }
  %1 = edge.kernel "b" tasks affine_map<() -> (1)> ins(%x : tensor<?xf32, affine_map<()[s0] -> (s0)>>) -> tensor<?xf32, affine_map<()[s0] -> (s0)>> {
  ^bb0(%task: index, %in: memref<?xf32>, %out: memref<?xf32>):
  }
  %2 = edge.kernel "c" tasks affine_map<() -> (1)> ins(%0, %1 : tensor<?xf32, affine_map<()[s0] -> (s0)>>, tensor<?xf32, affine_map<()[s0] -> (s0)>>) -> tensor<?xf32, affine_map<()[s0] -> (s0)>> {
  ^bb0(%task: index, %a: memref<?xf32>, %b: memref<?xf32>, %out: memref<?xf32>):
  }
  return %2 : tensor<?xf32, affine_map<()[s0] -> (s0)>>
}
}

// -----

// An output that is an input has the caller's memory for its own, so it is copied; one result twice is copied once.
// CHECK: arena 0 {
// CHECK: plan.tensor output "same"
// CHECK: plan.tensor output "y"
// CHECK: plan.tensor output "again"
// CHECK-NEXT: plan.step @step_0.task
// CHECK-NEXT: plan.step @copy_0.task {{.*}} [#plan.place<input 0>, #plan.place<output 0>]
// CHECK-NEXT: plan.step @copy_0.task {{.*}} [#plan.place<output 1>, #plan.place<output 2>]
// CHECK-NEXT: }
func.func @main(%x: tensor<8xf32> {edge.name = "x", edge.element = "f32"})
    -> (tensor<8xf32> {edge.name = "same", edge.element = "f32"}, tensor<8xf32> {edge.name = "y", edge.element = "f32"}, tensor<8xf32> {edge.name = "again", edge.element = "f32"}) {
  %0 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%x : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  return %x, %0, %0 : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}

// -----

// A reshape is the same memory.
// CHECK: arena 0 {
// CHECK: plan.step @step_0.task {{.*}} [#plan.place<input 0>, #plan.place<output 0>]
// CHECK-NEXT: }
func.func @main(%x: tensor<8xf32> {edge.name = "x", edge.element = "f32"}) -> (tensor<2x4xf32> {edge.name = "y", edge.element = "f32"}) {
  %0 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%x : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  %1 = edge.reshape %0 : tensor<8xf32> -> tensor<2x4xf32>
  return %1 : tensor<2x4xf32>
}

// -----

// A state is memory of the session, field 3 of edgecc_call: updated where it lies, and neither input nor output.
// CHECK: plan.model "model" {
// CHECK-NEXT: plan.state "cache" : "f16" #{{.*}}
// CHECK-NEXT: plan.entry "decode" function @edgecc_entry_decode arena 0 advance #{{.*}} {
// CHECK-NEXT: plan.tensor "x" : "f32"
// CHECK-NEXT: plan.step @append_0.task {{.*}} [#plan.place<input 0>, #plan.place<state 0>]
// CHECK-NEXT: }
module attributes {edge.symbols = [#edge.symbol<"past", 0, 8, position>, #edge.symbol<"context", 1, 8, capacity>]} {
func.func @decode(%x: tensor<1xf32> {edge.name = "x", edge.element = "f32"}, %s: tensor<?xf16, affine_map<()[s0, s1] -> (s1)>> {edge.name = "cache", edge.element = "f16", edge.state = 0 : i64})
    -> (tensor<?xf16, affine_map<()[s0, s1] -> (s1)>> {edge.state = 0 : i64}) attributes {edge.advance = affine_map<() -> (1)>} {
  %0 = edge.kernel "append" tasks affine_map<() -> (1)> ins(%x : tensor<1xf32>) inouts(%s : tensor<?xf16, affine_map<()[s0, s1] -> (s1)>>) -> tensor<?xf16, affine_map<()[s0, s1] -> (s1)>> {
  ^bb0(%task: index, %in: memref<1xf32>, %state: memref<?xf16>):
  }
  return %0 : tensor<?xf16, affine_map<()[s0, s1] -> (s1)>>
}
}

// -----

// A weight that two layers use is in the file once; the next one begins at a multiple of 64.
// CHECK: plan.weight "a" at 0 bytes 12
// CHECK-NEXT: plan.weight "c" at 64 bytes 4
// CHECK-NOT: plan.weight
func.func @main(%x: tensor<3xf32> {edge.name = "x", edge.element = "f32"}) -> (tensor<3xf32> {edge.name = "y", edge.element = "f32"}) {
  %a = edge.weight "a" {value = dense<[1.0, 2.0, 3.0]> : tensor<3xf32>} : tensor<3xf32>
  %b = edge.weight "b" {value = dense<[1.0, 2.0, 3.0]> : tensor<3xf32>} : tensor<3xf32>
  %c = edge.weight "c" {value = dense<4.0> : tensor<1xf32>} : tensor<1xf32>
  %0 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%x, %a, %b, %c : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<1xf32>) -> tensor<3xf32> {
  ^bb0(%task: index, %0: memref<3xf32>, %1: memref<3xf32>, %2: memref<3xf32>, %3: memref<1xf32>, %out: memref<3xf32>):
  }
  return %0 : tensor<3xf32>
}

// -----

// What a kernel updates in place is copied first if somebody reads it later. (A weight is never written.)
// CHECK: plan.step @step_0.task {{.*}} [#plan.place<input 0>, #plan.place<arena 0>]
// CHECK-NEXT: plan.step @copy_0.task {{.*}} [#plan.place<arena 0>, #plan.place<arena 64>]
// CHECK-NEXT: plan.step @update_0.task {{.*}} [#plan.place<arena 64>]
// CHECK-NEXT: plan.step @sum_0.task {{.*}} [#plan.place<arena 0>, #plan.place<arena 64>, #plan.place<output 0>]
func.func @main(%x: tensor<8xf32> {edge.name = "x", edge.element = "f32"}) -> (tensor<8xf32> {edge.name = "y", edge.element = "f32"}) {
  %0 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%x : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  %1 = edge.kernel "update" tasks affine_map<() -> (1)> inouts(%0 : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %inout: memref<8xf32>):
  }
  %2 = edge.kernel "sum" tasks affine_map<() -> (1)> ins(%0, %1 : tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %a: memref<8xf32>, %b: memref<8xf32>, %out: memref<8xf32>):
  }
  return %2 : tensor<8xf32>
}

// -----

// A reader is a reader through a reshape, too: here of what the kernel updates, before it and after.
// CHECK: plan.step @copy_0.task {{.*}} [#plan.place<arena 0>, #plan.place<arena 64>]
// CHECK-NEXT: plan.step @update_0.task {{.*}} [#plan.place<arena 64>]
// CHECK-NEXT: plan.step @sum_0.task {{.*}} [#plan.place<arena 0>, #plan.place<arena 64>, #plan.place<output 0>]
func.func @main(%x: tensor<8xf32> {edge.name = "x", edge.element = "f32"}) -> (tensor<8xf32> {edge.name = "y", edge.element = "f32"}) {
  %0 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%x : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  %pairs = edge.reshape %0 : tensor<8xf32> -> tensor<4x2xf32>
  %again = edge.reshape %pairs : tensor<4x2xf32> -> tensor<8xf32>
  %1 = edge.kernel "update" tasks affine_map<() -> (1)> inouts(%0 : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %inout: memref<8xf32>):
  }
  %2 = edge.kernel "sum" tasks affine_map<() -> (1)> ins(%again, %1 : tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %a: memref<8xf32>, %b: memref<8xf32>, %out: memref<8xf32>):
  }
  return %2 : tensor<8xf32>
}

// -----

// The name of the model, and what is said about it, go into the file; a size becomes a load from dims, field 0.
// CHECK-LABEL: module @tiny
// CHECK: plan.model "tiny" attributes {facts = {licence = "none"}} {
// CHECK: func.func private @step_0(%[[DIMS:[^:]*]]: !llvm.ptr, %{{[^:]*}}: index, %{{[^:]*}}: !llvm.ptr {llvm.noalias}, %{{[^:]*}}: !llvm.ptr {llvm.noalias})
// CHECK: %[[AT:.*]] = llvm.getelementptr %[[DIMS]][0]
// CHECK: llvm.load %[[AT]] invariant
// CHECK-NOT: edge.dim
module @tiny attributes {edge.facts = {licence = "none"}, edge.symbols = [#edge.symbol<"tokens", 1, 100, free>]} {
func.func @main(%x: tensor<4xf32> {edge.name = "x", edge.element = "f32"}) -> (tensor<4xf32> {edge.name = "y", edge.element = "f32"}) {
  %0 = edge.kernel "step" tasks affine_map<() -> (1)> ins(%x : tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%task: index, %in: memref<4xf32>, %out: memref<4xf32>):
    %n = edge.dim 0
    %v = memref.load %in[%n] : memref<4xf32>
    memref.store %v, %out[%n] : memref<4xf32>
  }
  return %0 : tensor<4xf32>
}
}

// -----

// What an exit gives lies where the result does, and what is computed for that alone are steps of the exit.
// CHECK: plan.exit after 1 "margin" at_least 5.000000e-01
// CHECK: plan.entry "main"
// CHECK: plan.step @layer_0.task {{.*}} [#plan.place<input 0>, #plan.place<arena [[HIDDEN:.*]]>]
// CHECK-NEXT: plan.step @sure_0.task {{.*}} [#plan.place<arena [[HIDDEN]]>, #plan.place<arena [[SURE:.*]]>]
// CHECK-NEXT: plan.leave 0 if <arena [[SURE]]> {
// CHECK-NEXT: plan.step @head_0.task {{.*}} [#plan.place<arena [[HIDDEN]]>, #plan.place<output 0>]
// CHECK-NEXT: }
// CHECK-NEXT: plan.step @layer_0.task {{.*}} [#plan.place<arena [[HIDDEN]]>, #plan.place<arena [[LAST:.*]]>]
// CHECK-NEXT: plan.step @head_0.task {{.*}} [#plan.place<arena [[LAST]]>, #plan.place<output 0>]
module attributes {edge.exits = [#edge.exit_point<layer = 1, threshold = 5.0e-01 : f32, confidence = margin, pending = -1>], edge.layers = 2} {
func.func @main(%x: tensor<8xf32> {edge.name = "x", edge.element = "f32"}) -> (tensor<8xf32> {edge.name = "y", edge.element = "f32"}) {
  %0 = edge.kernel "layer" tasks affine_map<() -> (1)> ins(%x : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  %1 = edge.kernel "head" tasks affine_map<() -> (2)> ins(%0 : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
    %c = arith.constant 1 : index
  }
  %2 = edge.kernel "sure" tasks affine_map<() -> (1)> ins(%0 : tensor<8xf32>) -> tensor<1xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<1xf32>):
  }
  edge.exit 0 if %2 gives %1 : tensor<1xf32> -> tensor<8xf32>
  %3 = edge.kernel "layer" tasks affine_map<() -> (1)> ins(%0 : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
  }
  %4 = edge.kernel "head" tasks affine_map<() -> (2)> ins(%3 : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%task: index, %in: memref<8xf32>, %out: memref<8xf32>):
    %c = arith.constant 1 : index
  }
  return %4 : tensor<8xf32>
}
}

// -----

// Checked inputs have no place in a call: they stand behind what code reads and writes, with what they must be.
// CHECK: #[[ROW:.*]] = affine_map<()[s0] -> (1, s0)>
// CHECK: plan.tensor "ids" : "i64" #[[ROW]] {edge.values = {range = array<i64: -50, 49>}}
// CHECK-NEXT: plan.tensor output "y" : "i64"
// CHECK-NEXT: plan.tensor "position_ids" : "i32" #[[ROW]] {edge.checked, edge.values = {counting = #{{.*}}}}
// CHECK-NEXT: plan.step @copy_0.task tasks {{.*}} [#plan.place<input 0>, #plan.place<output 0>]
module attributes {edge.symbols = [#edge.symbol<"sequence", 1, 16, free>, #edge.symbol<"past", 0, 64, position>]} {
func.func @main(%ids: tensor<1x?xi64, affine_map<()[s0] -> (1, s0)>> {edge.name = "ids", edge.element = "i64", edge.values = {range = array<i64: -50, 49>}})
    -> (tensor<1x?xi64, affine_map<()[s0] -> (1, s0)>> {edge.name = "y", edge.element = "i64"})
    attributes {edge.checked = [{name = "position_ids", element = "i32", shape = affine_map<()[s0] -> (1, s0)>, values = {counting = affine_map<()[s0, s1] -> (s1)>}}]} {
  return %ids : tensor<1x?xi64, affine_map<()[s0] -> (1, s0)>>
}
}

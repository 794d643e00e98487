// RUN: edgecc-opt %s --edge-emit-entries --split-input-file | FileCheck %s

// A step is a word (its task, and from bit 16 on the number of its buffers) and a word for each buffer (its memory in three bits,
// then its place: bytes / 64, or which state, input or output). Two layers that do the same differ in these words alone. A task
// that is run a different number of times is listed twice.
// CHECK: func.func private @edgecc_run_steps(%[[CALL:[^:]*]]: !llvm.ptr, %[[TASKS:[^:]*]]: !llvm.ptr, %[[STEPS:[^:]*]]: !llvm.ptr, %[[WORDS:[^:]*]]: i64)
// CHECK-SAME: no_inline
// CHECK: llvm.mlir.constant(3 : i64)
// CHECK: llvm.alloca
// CHECK: scf.while
// CHECK: scf.for
// CHECK: llvm.call %{{.*}}(%[[CALL]], %{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, i64) -> ()
// CHECK-LABEL: func.func @edgecc_entry_main(
// CHECK-SAME: %[[CALL:.*]]: !llvm.ptr)
// CHECK: %[[DIMS:.*]] = llvm.load %[[CALL]]
// CHECK-COUNT-3: constant @{{.*}}.task
// CHECK-NOT: constant @
// CHECK: %[[TABLE:.*]] = llvm.mlir.addressof @edgecc_entry_main.steps
// CHECK: %[[COUNT:.*]] = llvm.mlir.constant(13 : i64)
// CHECK: call @edgecc_run_steps(%[[CALL]], %{{.*}}, %[[TABLE]], %[[COUNT]])
// CHECK-NEXT: return
//                                                 2 buffers, task 0; input 0, arena 64; 3 buffers, task 1; arena 64, weights 128, state 1; ...
// CHECK: llvm.mlir.global internal constant @edgecc_entry_main.steps(dense<[131072, 4, 9, 196609, 9, 18, 11, 196609, 1, 26, 19, 65538, 5]>
module attributes {edge.symbols = [#edge.symbol<"tokens", 1, 100, free>]} {
  plan.model "model" {
    plan.entry "main" function @edgecc_entry_main arena 128 {
      plan.step @first.task tasks affine_map<()[s0] -> (s0)> [#plan.place<input 0>, #plan.place<arena 64>]
      plan.step @layer.task tasks affine_map<() -> (4)> [#plan.place<arena 64>, #plan.place<weights 128>, #plan.place<state 1>]
      plan.step @layer.task tasks affine_map<() -> (4)> [#plan.place<arena 0>, #plan.place<weights 192>, #plan.place<state 2>]
      plan.step @layer.task tasks affine_map<() -> (5)> [#plan.place<output 0>]
    }
  }
  func.func private @first.task(%dims: !llvm.ptr, %buffers: !llvm.ptr, %task: i64) { return }
  func.func private @layer.task(%dims: !llvm.ptr, %buffers: !llvm.ptr, %task: i64) { return }
}

// -----

// An entry without steps is a function that does nothing.
// CHECK-LABEL: func.func @edgecc_entry_nothing
// CHECK-NOT: call
// CHECK: return
// CHECK-NOT: llvm.mlir.global
plan.model "model" {
  plan.entry "nothing" function @edgecc_entry_nothing arena 0 {
  }
}

// -----

// An exit is its number under the task that none has, the place of the confidence, and how many words its own steps are. The loop
// compares with the call's threshold, and either ends behind these words or goes on there.
// CHECK: func.func private @edgecc_run_steps(%[[CALL:[^:]*]]: !llvm.ptr,
// CHECK: scf.while
// CHECK: arith.cmpi eq
// CHECK: arith.cmpf oge
// CHECK: llvm.mlir.global internal constant @edgecc_entry_main.steps(dense<[65536, 9, 131071, 9, 2, 65536, 5, 65537, 5]>
plan.model "model" {
  plan.entry "main" function @edgecc_entry_main arena 128 {
    plan.step @sure.task tasks affine_map<() -> (1)> [#plan.place<arena 64>]
    plan.leave 1 if <arena 64> {
      plan.step @sure.task tasks affine_map<() -> (1)> [#plan.place<output 0>]
    }
    plan.step @rest.task tasks affine_map<() -> (1)> [#plan.place<output 0>]
  }
}
func.func private @sure.task(%dims: !llvm.ptr, %buffers: !llvm.ptr, %task: i64) { return }
func.func private @rest.task(%dims: !llvm.ptr, %buffers: !llvm.ptr, %task: i64) { return }

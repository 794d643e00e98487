// RUN: edgecc-opt %s --edge-emit-entries --split-input-file --verify-diagnostics

plan.model "model" {
  plan.entry "main" function @edgecc_entry_main arena 128 {
    // expected-error @+1 {{has a buffer at #plan.place<arena 4>; the table of steps holds multiples of 64 below 34359738368}}
    plan.step @step.task tasks affine_map<() -> (1)> [#plan.place<arena 4>]
  }
}
func.func private @step.task(%dims: !llvm.ptr, %buffers: !llvm.ptr, %task: i64) { return }

// -----

plan.model "model" {
  plan.entry "main" function @edgecc_entry_main arena 128 {
    // expected-error @+1 {{has a buffer at #plan.place<weights 34359738368>; the table of steps holds multiples of 64 below 34359738368}}
    plan.step @step.task tasks affine_map<() -> (1)> [#plan.place<weights 34359738368>]
  }
}
func.func private @step.task(%dims: !llvm.ptr, %buffers: !llvm.ptr, %task: i64) { return }

// -----

plan.model "model" {
  // expected-error @+1 {{has a step of the task @missing, which is not in the module}}
  plan.entry "main" function @edgecc_entry_main arena 0 {
    plan.step @missing tasks affine_map<() -> (1)> [#plan.place<arena 0>]
  }
}

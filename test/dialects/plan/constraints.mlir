// RUN: edgecc-opt %s --split-input-file --verify-diagnostics

plan.model "tensor_outside_of_an_entry" {
  // expected-error @+1 {{'plan.tensor' op expects parent op 'plan.entry'}}
  plan.tensor "x" : "f32" affine_map<() -> (1)>
}

// -----

plan.model "step_outside_of_an_entry" {
  // expected-error @+1 {{'plan.step' op expects parent op to be one of 'plan.entry, plan.leave'}}
  plan.step @step tasks affine_map<() -> (1)> []
}

// -----

plan.model "step_with_something_else_than_places" {
  plan.entry "main" function @e arena 0 {
    // expected-error @+1 {{'plan.step' op attribute 'buffers' failed to satisfy constraint: places}}
    plan.step @step tasks affine_map<() -> (1)> [1 : i64]
  }
}

// -----

plan.model "leave_outside_of_an_entry" {
  // expected-error @+1 {{'plan.leave' op expects parent op 'plan.entry'}}
  plan.leave 0 if <arena 0> {
  }
}

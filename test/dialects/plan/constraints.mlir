// RUN: edgecc-opt %s --split-input-file --verify-diagnostics

plan.model "tensor_outside_of_an_entry" {
  // expected-error @+1 {{'plan.tensor' op expects parent op 'plan.entry'}}
  plan.tensor "x" : "f32" affine_map<() -> (1)>
}

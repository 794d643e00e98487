// y[i] = factor[i % 4] * x[i] + count, where the state `count` is the number of calls before this one: a weight, a state, an arena, an
// input, an output and a parallel step, as edge-lower-to-llvm leaves them.
module @scale attributes {edge.symbols = [#edge.symbol<"n", 1, 1000, free>, #edge.symbol<"past", 0, 4096, position>,
                                          #edge.symbol<"capacity", 1, 4096, capacity>]} {
  plan.model "scale" attributes {facts = {vocabulary_size = 7 : i64, author = "a test"}} {
    plan.state "count" : "f32" affine_map<()[s0, s1, s2] -> (s2, 4)>
    plan.weight "factor" at 64 bytes 16 {value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>}
    plan.weight "flags" at 128 bytes 3 {value = dense<[true, false, true]> : tensor<3xi1>}
    plan.entry "main" function @main_entry arena 256 advance affine_map<()[s0] -> (s0)> {
      plan.tensor "x" : "f32" affine_map<()[s0] -> (s0)>
      plan.tensor output "y" : "f32" affine_map<()[s0] -> (s0)>
      plan.tensor output "z" : "i64" affine_map<()[s0, s1] -> ((s0 + s1) floordiv 2, s0 * 3)>
    }
  }
  llvm.func @kernel(%dims: !llvm.ptr, %buffers: !llvm.ptr, %task: i64) {
    %zero = llvm.mlir.constant(0 : i64) : i64
    %one = llvm.mlir.constant(1 : i64) : i64
    %three = llvm.mlir.constant(3 : i64) : i64
    %x = llvm.load %buffers : !llvm.ptr -> !llvm.ptr
    %p1 = llvm.getelementptr %buffers[1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %factor = llvm.load %p1 : !llvm.ptr -> !llvm.ptr
    %p2 = llvm.getelementptr %buffers[2] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %y = llvm.load %p2 : !llvm.ptr -> !llvm.ptr
    %p3 = llvm.getelementptr %buffers[3] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %state = llvm.load %p3 : !llvm.ptr -> !llvm.ptr
    %count = llvm.load %state : !llvm.ptr -> f32
    %n = llvm.load %dims : !llvm.ptr -> i64
    llvm.br ^loop(%zero : i64)
  ^loop(%i: i64):
    %more = llvm.icmp "slt" %i, %n : i64
    llvm.cond_br %more, ^body, ^end
  ^body:
    %k = llvm.and %i, %three : i64
    %fp = llvm.getelementptr %factor[%k] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %f = llvm.load %fp : !llvm.ptr -> f32
    %xp = llvm.getelementptr %x[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %v = llvm.load %xp : !llvm.ptr -> f32
    %m = llvm.fmul %f, %v : f32
    %s = llvm.fadd %m, %count : f32
    %yp = llvm.getelementptr %y[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    llvm.store %s, %yp : f32, !llvm.ptr
    %next = llvm.add %i, %one : i64
    llvm.br ^loop(%next : i64)
  ^end:
    %unit = llvm.mlir.constant(1.0 : f32) : f32
    %counted = llvm.fadd %count, %unit : f32
    llvm.store %counted, %state : f32, !llvm.ptr
    llvm.return
  }
  llvm.func @main_entry(%call: !llvm.ptr) {
    %one = llvm.mlir.constant(1 : i64) : i64
    %buffers = llvm.alloca %one x !llvm.array<4 x ptr> : (i64) -> !llvm.ptr
    %weights_at = llvm.getelementptr %call[2] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %weights = llvm.load %weights_at : !llvm.ptr -> !llvm.ptr
    %factor = llvm.getelementptr %weights[64] : (!llvm.ptr) -> !llvm.ptr, i8
    %states_at = llvm.getelementptr %call[3] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %states = llvm.load %states_at : !llvm.ptr -> !llvm.ptr
    %state = llvm.load %states : !llvm.ptr -> !llvm.ptr
    %inputs_at = llvm.getelementptr %call[4] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %inputs = llvm.load %inputs_at : !llvm.ptr -> !llvm.ptr
    %x = llvm.load %inputs : !llvm.ptr -> !llvm.ptr
    %outputs_at = llvm.getelementptr %call[5] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %outputs = llvm.load %outputs_at : !llvm.ptr -> !llvm.ptr
    %y = llvm.load %outputs : !llvm.ptr -> !llvm.ptr
    llvm.store %x, %buffers : !llvm.ptr, !llvm.ptr
    %b1 = llvm.getelementptr %buffers[1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    llvm.store %factor, %b1 : !llvm.ptr, !llvm.ptr
    %b2 = llvm.getelementptr %buffers[2] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    llvm.store %y, %b2 : !llvm.ptr, !llvm.ptr
    %b3 = llvm.getelementptr %buffers[3] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    llvm.store %state, %b3 : !llvm.ptr, !llvm.ptr
    %run_at = llvm.getelementptr %call[6] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %run = llvm.load %run_at : !llvm.ptr -> !llvm.ptr
    %kernel = llvm.mlir.addressof @kernel : !llvm.ptr
    llvm.call %run(%call, %kernel, %buffers, %one) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, i64) -> ()
    llvm.return
  }
}

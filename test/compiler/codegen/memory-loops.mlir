// Copies and fills never become calls: neither loops that an optimizer would recognise nor LLVM's own intrinsics.
// RUN: edgecc %s --emit=obj --target=x86-64-v3 -o %t.o && llvm-nm --undefined-only %t.o | count 0
// RUN: edgecc %s --emit=obj --target=x86-64-v4 -o %t.o && llvm-nm --undefined-only %t.o | count 0
// RUN: edgecc %s --emit=obj --target=linux-arm64 --variant=arm64-neon -o %t.o && llvm-nm --undefined-only %t.o | count 0
// RUN: edgecc %s --emit=obj --target=linux-arm64 --variant=arm64-dotprod -o %t.o && llvm-nm --undefined-only %t.o | count 0
// RUN: edgecc %s --emit=obj --target=linux-arm64 --variant=arm64-i8mm -o %t.o && llvm-nm --undefined-only %t.o | count 0
// They are worth vectors all the same.
// RUN: edgecc %s --emit=asm --target=x86-64-v3 | FileCheck %s
module @memory {
  plan.model "memory" {
    plan.entry "copy" function @copy arena 0 {}
    plan.entry "fill" function @fill arena 0 {}
    plan.entry "intrinsics" function @intrinsics arena 0 {}
  }
  // CHECK-LABEL: copy:
  // CHECK: vmovups {{.*}}, %ymm
  llvm.func @copy(%call: !llvm.ptr {llvm.noalias}) {
    %zero = llvm.mlir.constant(0 : i64) : i64
    %one = llvm.mlir.constant(1 : i64) : i64
    %dims = llvm.load %call : !llvm.ptr -> !llvm.ptr
    %n = llvm.load %dims : !llvm.ptr -> i64
    %toAt = llvm.getelementptr %call[1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %to = llvm.load %toAt : !llvm.ptr -> !llvm.ptr
    %fromAt = llvm.getelementptr %call[2] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %from = llvm.load %fromAt : !llvm.ptr -> !llvm.ptr
    llvm.br ^loop(%zero : i64)
  ^loop(%i: i64):
    %fromElement = llvm.getelementptr %from[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %value = llvm.load %fromElement : !llvm.ptr -> f32
    %toElement = llvm.getelementptr %to[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    llvm.store %value, %toElement : f32, !llvm.ptr
    %next = llvm.add %i, %one : i64
    %more = llvm.icmp "slt" %next, %n : i64
    llvm.cond_br %more, ^loop(%next : i64), ^end
  ^end:
    llvm.return
  }
  llvm.func @fill(%call: !llvm.ptr) {
    %zero = llvm.mlir.constant(0 : i64) : i64
    %one = llvm.mlir.constant(1 : i64) : i64
    %nothing = llvm.mlir.constant(0 : i8) : i8
    %dims = llvm.load %call : !llvm.ptr -> !llvm.ptr
    %n = llvm.load %dims : !llvm.ptr -> i64
    %toAt = llvm.getelementptr %call[1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %to = llvm.load %toAt : !llvm.ptr -> !llvm.ptr
    llvm.br ^loop(%zero : i64)
  ^loop(%i: i64):
    %toElement = llvm.getelementptr %to[%i] : (!llvm.ptr, i64) -> !llvm.ptr, i8
    llvm.store %nothing, %toElement : i8, !llvm.ptr
    %next = llvm.add %i, %one : i64
    %more = llvm.icmp "slt" %next, %n : i64
    llvm.cond_br %more, ^loop(%next : i64), ^end
  ^end:
    llvm.return
  }
  llvm.func @intrinsics(%call: !llvm.ptr) {
    %size = llvm.mlir.constant(1000 : i64) : i64
    %small = llvm.mlir.constant(48 : i64) : i64
    %value = llvm.mlir.constant(7 : i8) : i8
    %dims = llvm.load %call : !llvm.ptr -> !llvm.ptr
    %n = llvm.load %dims : !llvm.ptr -> i64
    %toAt = llvm.getelementptr %call[1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %to = llvm.load %toAt : !llvm.ptr -> !llvm.ptr
    "llvm.intr.memcpy"(%to, %dims, %n) <{isVolatile = false}> : (!llvm.ptr, !llvm.ptr, i64) -> ()
    "llvm.intr.memmove"(%to, %dims, %size) <{isVolatile = false}> : (!llvm.ptr, !llvm.ptr, i64) -> ()
    "llvm.intr.memset"(%to, %value, %n) <{isVolatile = false}> : (!llvm.ptr, i8, i64) -> ()
    "llvm.intr.memset"(%dims, %value, %size) <{isVolatile = false}> : (!llvm.ptr, i8, i64) -> ()
    "llvm.intr.memcpy"(%to, %call, %small) <{isVolatile = false}> : (!llvm.ptr, !llvm.ptr, i64) -> ()
    llvm.return
  }
}

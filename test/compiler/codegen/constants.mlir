// Constants of code (a vector that a kernel loads, a jump table) lie in the image behind the code, addressed relative to it.
// RUN: edgecc %s --target=linux-arm64 -o %t.edge --report %t.json
// RUN: FileCheck %s < %t.json
// RUN: edgecc-dump %t.edge | FileCheck %s --check-prefix=DUMP
// CHECK: "variant": "arm64-neon"
// CHECK: "variant": "arm64-dotprod"
// CHECK: "variant": "arm64-i8mm"
// DUMP: arm64-neon: code, aarch64
// DUMP: arm64-dotprod: code, aarch64 dotprod fp16
// DUMP: arm64-i8mm: code, aarch64 dotprod fp16 i8mm bf16
module {
  plan.model "constants" {
    plan.entry "main" function @main arena 0 {}
  }
  llvm.mlir.global internal constant @primes(dense<[2, 3, 5, 7, 11, 13, 17, 19]> : tensor<8xi32>) : !llvm.array<8 x i32>
  llvm.func @main(%call: !llvm.ptr) {
    %i = llvm.load %call : !llvm.ptr -> i64
    %primes = llvm.mlir.addressof @primes : !llvm.ptr
    %at = llvm.getelementptr %primes[%i] : (!llvm.ptr, i64) -> !llvm.ptr, i32
    %prime = llvm.load %at : !llvm.ptr -> i32
    %odd = llvm.mlir.constant(dense<[1.5, 2.25, 3.125, 4.0625]> : vector<4xf32>) : vector<4xf32>
    %value = llvm.load %call : !llvm.ptr -> vector<4xf32>
    %product = llvm.fmul %value, %odd : vector<4xf32>
    llvm.store %product, %call : vector<4xf32>, !llvm.ptr
    llvm.store %prime, %call : i32, !llvm.ptr
    llvm.return
  }
}

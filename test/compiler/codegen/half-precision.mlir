// f16 needs no library on any CPU variant: x86-64-v3 and AArch64 convert in hardware.
// RUN: edgecc %s --emit=obj --target=x86-64-v3 -o %t.o && llvm-nm --undefined-only %t.o | count 0
// RUN: edgecc %s --emit=obj --target=linux-arm64 --variant=arm64-neon -o %t.o && llvm-nm --undefined-only %t.o | count 0
// RUN: edgecc %s --emit=asm --target=x86-64-v3 | FileCheck %s --check-prefix=V3
// RUN: edgecc %s --emit=asm --target=linux-arm64 --variant=arm64-dotprod | FileCheck %s --check-prefix=DOTPROD
module {
  plan.model "m" {
    plan.entry "main" function @main arena 0 {}
  }
  // V3: vcvtph2ps
  // V3: vaddps
  // V3: vcvtps2ph
  // DOTPROD: fadd {{.*}}.8h
  llvm.func @main(%call: !llvm.ptr) {
    %a = llvm.load %call : !llvm.ptr -> vector<8xf16>
    %sum = llvm.fadd %a, %a : vector<8xf16>
    llvm.store %sum, %call : vector<8xf16>, !llvm.ptr
    llvm.return
  }
}

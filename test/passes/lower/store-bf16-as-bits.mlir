// RUN: edgecc-opt %s --edge-store-bf16-as-bits | FileCheck %s

// The bits of a bf16 leave as an i16, those of a vector as a vector.
// CHECK-LABEL: @bf16
// CHECK-SAME: (%[[X:.*]]: bf16, %[[V:.*]]: vector<8xbf16>, %[[P:.*]]: !llvm.ptr)
// CHECK-NEXT: %[[I:.*]] = llvm.bitcast %[[X]] : bf16 to i16
// CHECK-NEXT: llvm.store %[[I]], %[[P]] : i16, !llvm.ptr
// CHECK-NEXT: %[[J:.*]] = llvm.bitcast %[[V]] : vector<8xbf16> to vector<8xi16>
// CHECK-NEXT: llvm.store %[[J]], %[[P]] : vector<8xi16>, !llvm.ptr
// CHECK-NEXT: llvm.return
llvm.func @bf16(%x: bf16, %v: vector<8xbf16>, %p: !llvm.ptr) {
  llvm.store %x, %p : bf16, !llvm.ptr
  llvm.store %v, %p : vector<8xbf16>, !llvm.ptr
  llvm.return
}

// What has instructions of its own is stored as it is.
// CHECK-LABEL: @others
// CHECK-NOT: llvm.bitcast
// CHECK: llvm.store %{{.*}} : f16, !llvm.ptr
// CHECK: llvm.store %{{.*}} : vector<4xf32>, !llvm.ptr
llvm.func @others(%x: f16, %v: vector<4xf32>, %p: !llvm.ptr) {
  llvm.store %x, %p : f16, !llvm.ptr
  llvm.store %v, %p : vector<4xf32>, !llvm.ptr
  llvm.return
}

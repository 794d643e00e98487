// RUN: edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=1 verify" --edge-specialize-entries | FileCheck %s
// RUN: edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=2" --edge-specialize-entries | FileCheck %s --check-prefix=PLAIN

// A prompt goes the whole way, but shows the skipped layers what waits for them. Nothing is kept.
// CHECK-DAG: #[[BEFORE:.*]] = affine_map<()[s0, s1, s2, s3] -> (-s3 + s1)>
// CHECK-LABEL: func.func @prefill
// CHECK-NOT: edge.confidence
// CHECK-NOT: edge.exit
// CHECK: tensor.extract %arg7
// CHECK-COUNT-4: at #[[BEFORE]]
// CHECK: edge.attention
// CHECK: return {{.*}}, %arg7 :

// CHECK-LABEL: func.func @decode
// CHECK: edge.exit 0

// Behind the exit: no embedding, no first layer; it begins with what was kept at this call's own positions.
// CHECK-LABEL: func.func @verify.1
// CHECK-SAME: edge.resumes = 0 : i64
// CHECK-NOT: edge.embedding
// CHECK: tensor.extract %arg7
// CHECK-COUNT-2: edge.attention
// CHECK-NOT: edge.attention
// CHECK: return %{{.*}}, %arg1, %arg2, %{{[a-z_0-9]+}}, %{{[a-z_0-9]+}}, %{{[a-z_0-9]+}}, %{{[a-z_0-9]+}}, %arg7 :

// No tokens go in and no logits come out.
// CHECK-LABEL: func.func @fill(%arg0: tensor<1x1x?x16xf32
// CHECK-SAME: edge.fills
// CHECK-NOT: edge.embedding
// CHECK-NOT: edge.attention
// CHECK-COUNT-4: edge.append
// CHECK-NOT: edge.append
// CHECK: return %arg0, %arg1, %{{[a-z_0-9]+}}, %{{[a-z_0-9]+}}, %{{[a-z_0-9]+}}, %{{[a-z_0-9]+}}, %arg6 :

// CHECK-LABEL: func.func @score
// CHECK-NOT: edge.exit

// PLAIN-NOT: @verify

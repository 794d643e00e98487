// RUN: edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=1 threshold=0.75" | FileCheck %s
// RUN: edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=2 confidence=state verify" | FileCheck %s --check-prefix=STATE
// RUN: edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=1,2" | FileCheck %s --check-prefix=TWO
// RUN: edgecc-opt %S/../Inputs/three-layers.mlir "--edge-early-exit=layers=2,1" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Behind the first layer: the head on its state, with the same weights; how sure that is; and the state itself is kept.
// CHECK-DAG: #[[PAST:.*]] = affine_map<()[s0, s1] -> (s1)>
// CHECK-DAG: #[[BEFORE:.*]] = affine_map<()[s0, s1, s2, s3] -> (-s3 + s1)>
// CHECK-DAG: #[[WAITING:.*]] = affine_map<()[s0, s1, s2, s3] -> (1, s3, 16)>
// CHECK: module attributes {edge.exits = [#edge.exit_point<layer = 1, threshold = 7.500000e-01 : f32, confidence = margin, pending = 3>], edge.layers = 3
// CHECK-SAME: #edge.symbol<"pending.1", 0, 32, pending>
// CHECK: %[[TABLE:.*]] = edge.weight "table"
// CHECK: edge.attention
// CHECK: %[[HIDDEN:.*]] = linalg.generic
// CHECK: %[[NORM:.*]] = edge.rms_norm %[[HIDDEN]]
// CHECK: %[[LOGITS:.*]] = edge.linear %[[NORM]], %[[TABLE]]
// CHECK: %[[SURE:.*]] = edge.confidence margin of %[[LOGITS]]
// CHECK: %[[ROWS:.*]] = edge.reshape %[[HIDDEN]]
// CHECK: %[[KEPT:.*]] = edge.append %{{.*}}, %[[ROWS]] at #[[PAST]]
// CHECK: edge.exit 0 if %[[SURE]] keeps %[[KEPT]] : {{.*}} gives %[[LOGITS]] :
// Who goes on first shows the positions that wait to both layers behind: keys and values, no queries, no attention.
// CHECK: %[[STATES:.*]] = linalg.generic
// CHECK: tensor.extract %[[KEPT]]
// CHECK: %[[NORM_1:.*]] = edge.rms_norm %[[STATES]]{{.*}} -> tensor<1x?x16xf32, #[[WAITING]]>
// CHECK: edge.linear %[[NORM_1]]
// CHECK: %[[KEYS_1:.*]] = edge.append %{{.*}} at #[[BEFORE]]
// CHECK: edge.linear %[[NORM_1]]
// CHECK: edge.append %{{.*}} at #[[BEFORE]]
// CHECK: %[[NORM_2:.*]] = edge.rms_norm %[[STATES]]
// CHECK: edge.append %{{.*}} at #[[BEFORE]]
// CHECK: edge.append %{{.*}} at #[[BEFORE]]
// CHECK-NOT: at #[[BEFORE]]
// CHECK: edge.append %[[KEYS_1]], %{{.*}} at #[[PAST]]
// CHECK: edge.attention
// CHECK: edge.attention
// CHECK: return {{.*}}, %[[KEPT]] :

// Saturation needs no head; that is computed for the output alone.
// STATE: edge.attention
// STATE: %[[FIRST:.*]] = linalg.generic
// STATE: edge.attention
// STATE: %[[SECOND:.*]] = linalg.generic
// STATE: edge.confidence state of %[[SECOND]] after %[[FIRST]] :
// STATE: edge.exit 0 {{.*}} {verified}

// Each exit has the positions to itself that its layers, up to the next exit, have not seen, and a state that is kept for them. Whoever
// fills the layers between two exits leaves to the second what it would have kept.
// TWO: #edge.symbol<"pending.1", 0, 32, pending>, #edge.symbol<"pending.2", 0, 32, pending>
// TWO: %[[KEPT:.*]] = edge.append %arg7,
// TWO: edge.exit 0 {{.*}} keeps %[[KEPT]]
// TWO: tensor.extract %[[KEPT]]
// TWO: %[[LEFT:.*]] = edge.append %arg8,
// TWO: %[[OWN:.*]] = edge.append %[[LEFT]],
// TWO: edge.exit 1 {{.*}} keeps %[[OWN]]
// TWO: tensor.extract %[[OWN]]
// TWO: return {{.*}}, %[[KEPT]], %[[OWN]] :

// REMARK: remark: {{.*}}ends after 1 of 3 layers if the margin is at least 0.900
// REMARK: remark: {{.*}}ends after 2 of 3 layers if the margin is at least 0.900

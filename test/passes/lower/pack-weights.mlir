// RUN: edgecc-opt %s --edge-pack-weights | FileCheck %s

// [2, 3] -> [1, 3, 16]: element (n, k) at [n / 16, k, n % 16], zero beyond n.
// CHECK-LABEL: @rows
// CHECK: %[[W:.*]] = edge.weight "w.panels" {value = dense_resource<w.panels> : tensor<1x3x16xf32>}
// CHECK-NOT: edge.weight "w"
// CHECK: edge.linear %{{.*}}, %[[W]] {layout = 2 : i32}
func.func @rows(%x: tensor<4x3xf32>) -> tensor<4x2xf32> {
  %w = edge.weight "w" {value = dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>} : tensor<2x3xf32>
  %y = edge.linear %x, %w : tensor<4x3xf32>, tensor<2x3xf32> -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// The same numbers by columns give the same panels.
// CHECK-LABEL: @columns
// CHECK: edge.weight "v.panels" {value = dense_resource<v.panels> : tensor<1x3x16xf32>}
func.func @columns(%x: tensor<4x3xf32>) -> tensor<4x2xf32> {
  %w = edge.weight "v" {value = dense<[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]> : tensor<3x2xf32>} : tensor<3x2xf32>
  %y = edge.linear %x, %w {layout = 1 : i32} : tensor<4x3xf32>, tensor<3x2xf32> -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// Weights come first, packed or not: a variant that moves layers leaves their order, and so their offsets, as it is.
// CHECK-LABEL: @hoisted
// CHECK-NEXT: edge.weight "w.panels"
// CHECK-NEXT: edge.weight "scale"
// CHECK-NEXT: edge.rms_norm
func.func @hoisted(%x: tensor<4x3xf32>, %z: tensor<4x3xf32>) -> (tensor<4x2xf32>, tensor<4x3xf32>) {
  %w = edge.weight "w" {value = dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>} : tensor<2x3xf32>
  %n = edge.rms_norm %z {epsilon = 1.0e-06 : f32} : tensor<4x3xf32> -> tensor<4x3xf32>
  %y = edge.linear %x, %w : tensor<4x3xf32>, tensor<2x3xf32> -> tensor<4x2xf32>
  %s = edge.weight "scale" {value = dense<[1.0, 2.0, 3.0]> : tensor<3xf32>} : tensor<3xf32>
  %m = edge.rms_norm %n, %s : tensor<3xf32> {epsilon = 1.0e-06 : f32} : tensor<4x3xf32> -> tensor<4x3xf32>
  return %y, %m : tensor<4x2xf32>, tensor<4x3xf32>
}

// A tied head: one tensor, and the lookup knows how many rows are real.
// CHECK-LABEL: @tied
// CHECK: %[[T:.*]] = edge.weight "table.panels" {value = dense_resource<table.panels> : tensor<2x2x16xf16>}
// CHECK-NOT: edge.weight
// CHECK: edge.embedding %{{.*}}, %[[T]] {layout = 2 : i32, rows = 17 : i64}
// CHECK: edge.linear %{{.*}}, %[[T]] {layout = 2 : i32}
func.func @tied(%ids: tensor<4xi64>) -> tensor<4x17xf16> {
  %t = edge.weight "table" {value = dense_resource<table> : tensor<17x2xf16>} : tensor<17x2xf16>
  %x = edge.embedding %ids, %t : tensor<4xi64>, tensor<17x2xf16> -> tensor<4x2xf16>
  %y = edge.linear %x, %t : tensor<4x2xf16>, tensor<17x2xf16> -> tensor<4x17xf16>
  return %y : tensor<4x17xf16>
}

// A table that is no head stays as it is.
// CHECK-LABEL: @lookup
// CHECK: edge.weight "alone" {value = dense<{{.*}}> : tensor<2x2xf32>}
// CHECK: edge.embedding %{{[^{]*}} :
func.func @lookup(%ids: tensor<4xi64>) -> tensor<4x2xf32> {
  %t = edge.weight "alone" {value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>} : tensor<2x2xf32>
  %x = edge.embedding %ids, %t : tensor<4xi64>, tensor<2x2xf32> -> tensor<4x2xf32>
  return %x : tensor<4x2xf32>
}

// CHECK: w.panels: "0x400000000000803F00008040{{0*}}00000040000{{0*}}A040{{0*}}40400000C040{{0*}}"
// CHECK: v.panels: "0x400000000000803F00008040{{0*}}00000040000{{0*}}A040{{0*}}40400000C040{{0*}}"

{-#
  dialect_resources: {
    builtin: {
      table: "0x020000000001000200030004000500060007000800090010001100120013001400150016001700180019002000210022002300240025002600270028002900300031003200330034"
    }
  }
#-}

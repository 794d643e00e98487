// RUN: edgecc-opt %s --edge-expand-math | FileCheck %s
// What is left of `math` is an instruction on every target; anything else would be a call of libm.
// RUN: edgecc-opt %s --edge-expand-math | FileCheck %s --check-prefix=LIBM
// LIBM-NOT: math.{{(exp|exp2|expm1|log|log2|log10|log1p|tanh|tan|sinh|cosh|asin|acos|atan|atan2|asinh|acosh|atanh|erf|erfc|sin|cos|powf|fpowi|rsqrt|cbrt|ctlz)}}

// CHECK-LABEL: @transcendental
// CHECK: math.fma
func.func @transcendental(%x: f32, %y: f32) -> f32 {
  %0 = math.exp %x : f32
  %1 = math.log %0 : f32
  %2 = math.tanh %1 : f32
  %3 = math.erf %2 : f32
  %4 = math.powf %3, %y : f32
  %5 = math.log1p %4 : f32
  %6 = math.expm1 %5 : f32
  %7 = math.rsqrt %6 : f32
  %8 = math.atan2 %7, %y : f32
  return %8 : f32
}

// CHECK-LABEL: @hyperbolic
func.func @hyperbolic(%x: f32) -> f32 {
  %0 = math.sinh %x : f32
  %1 = math.cosh %0 : f32
  %2 = math.asinh %1 : f32
  %3 = math.acosh %2 : f32
  %4 = math.atanh %3 : f32
  %5 = math.tan %4 : f32
  %6 = math.asin %5 : f32
  %7 = math.acos %6 : f32
  %8 = math.atan %7 : f32
  return %8 : f32
}

// Positions may be large: the angle loses its turns in float64, in two steps. What is beyond all turns stays inside.
// CHECK-LABEL: @sin
// CHECK: %[[X:.*]] = arith.extf %{{.*}} : f32 to f64
// CHECK: %[[ROUNDED:.*]] = math.roundeven
// CHECK: %[[LOW:.*]] = arith.minimumf %[[ROUNDED]], %{{.*}}
// CHECK: %[[N:.*]] = arith.maximumf %[[LOW]], %{{.*}}
// CHECK: %[[R1:.*]] = math.fma %[[N]], %{{.*}}, %[[X]] : f64
// CHECK: %[[R2:.*]] = math.fma %[[N]], %{{.*}}, %[[R1]] : f64
// CHECK: %[[R3:.*]] = arith.truncf %[[R2]] : f64 to f32
// CHECK: arith.minimumf %[[R3]], %{{.*}}
// CHECK: %[[ISNUMBER:.*]] = arith.cmpf ord, %[[N]], %[[N]]
// CHECK: %[[SAFE:.*]] = arith.select %[[ISNUMBER]], %[[N]], %{{.*}}
// CHECK: %[[QUADRANT:.*]] = math.fma %{{.*}}, %{{.*}}, %[[SAFE]] : f64
// CHECK: arith.fptosi %[[QUADRANT]] : f64 to i32
func.func @sin(%x: f32) -> f32 {
  %0 = math.sin %x : f32
  return %0 : f32
}

// A cosine is a sine one quadrant further; vectors stay vectors.
// CHECK-LABEL: @cos
// CHECK: %[[Q:.*]] = arith.fptosi %{{.*}} : vector<4xf64> to vector<4xi32>
// CHECK: arith.addi %[[Q]], %{{.*}} : vector<4xi32>
// CHECK: arith.select {{.*}} : vector<4xi1>, vector<4xf32>
func.func @cos(%x: vector<4xf32>) -> vector<4xf32> {
  %0 = math.cos %x : vector<4xf32>
  return %0 : vector<4xf32>
}

// Narrow types are widened around the polynomial.
// CHECK-LABEL: @narrow
// CHECK: arith.extf %{{.*}} : f16 to f32
// CHECK: math.fma {{.*}} : f32
// CHECK: arith.truncf %{{.*}} : f32 to f16
func.func @narrow(%x: f16) -> f16 {
  %0 = math.exp %x : f16
  return %0 : f16
}

// f32 to bf16 is rounded to even in integers, and a NaN stays one.
// CHECK-LABEL: @to_bf16
// CHECK: %[[BITS:.*]] = arith.bitcast %{{.*}} : f32 to i32
// CHECK: %[[NAN:.*]] = arith.cmpf uno
// CHECK: %[[SAFE:.*]] = arith.select %[[NAN]]
// CHECK: %[[HALF:.*]] = arith.trunci %[[SAFE]] : i32 to i16
// CHECK: arith.bitcast %[[HALF]] : i16 to bf16
// CHECK-NOT: arith.truncf
func.func @to_bf16(%x: f32) -> bf16 {
  %0 = arith.truncf %x : f32 to bf16
  return %0 : bf16
}

// Functions of doubles have no polynomial.
// CHECK-LABEL: func.func @doubles
// CHECK-NOT: math.log
// CHECK: math.sqrt {{.*}} : f64
// CHECK: return
func.func @doubles(%x: f64) -> f64 {
  %0 = math.log %x : f64
  %1 = math.sqrt %0 : f64
  return %1 : f64
}

// Upstream's logarithm knows no denormals: they are scaled before.
// CHECK-LABEL: func.func @log_of_denormals
// CHECK: %[[SMALL:.*]] = arith.cmpf olt, %[[X:.*]], %{{.*}}
// CHECK: %[[SCALED:.*]] = arith.mulf %[[X]], %{{.*}}
// CHECK: arith.select %[[SMALL]], %[[SCALED]], %[[X]]
// CHECK: %[[OFFSET:.*]] = arith.select %[[SMALL]]
// CHECK: arith.subf %{{.*}}, %[[OFFSET]]
func.func @log_of_denormals(%x: f32) -> f32 {
  %0 = math.log %x : f32
  return %0 : f32
}

//===- Families.cpp - Floating point families and the table -----------------===//
#include "passes/kernels/DotFamilies.h"

using namespace mlir;
namespace edgecc {
namespace {

class VectorFamily : public FloatFamily {
public:
  using FloatFamily::FloatFamily;
  Var zero(Code &code) const override { return code.splat(code.f32(0), lanes); }
  Var loadRhs(Code &code, Value rhs, Var at) const override { return code.convert(code.load(rhs, at, lanes), code.getF32Type()); }
  Var reduce(Code &, Var acc) const override { return acc; }
  const FloatFamily &rest() const override { return fmaFamily(lanes); }
};

/// The left side's element in all lanes; on x86 a memory operand of the multiply-add.
class Fma : public VectorFamily {
public:
  explicit Fma(int64_t lanes) : VectorFamily(lanes, /*depth=*/1) {}
  Var loadLhs(Code &code, Value lhs, Var at) const override { return code.splat(code.load(lhs, at), lanes); }
  Var product(Code &code, Var acc, Var lhs, int64_t, Var rhs) const override { return code.fma(lhs, rhs, acc); }
};

/// NEON multiplies by a lane of a register: four elements of k come with one load and are never broadcast.
class FmaByLane : public VectorFamily {
public:
  FmaByLane() : VectorFamily(/*lanes=*/4, /*depth=*/4) {}
  Var loadLhs(Code &code, Value lhs, Var at) const override { return code.load(lhs, at, depth); }
  Var product(Code &code, Var acc, Var lhs, int64_t k, Var rhs) const override {
    return code.fma(code.splat(code.extract(lhs, k), lanes), rhs, acc);
  }
};

const Fma Fma1(1), Fma2(2), Fma4(4), Fma8(8), Fma16(16);
const FmaByLane LaneFma;

} // namespace

const FloatFamily &fmaFamily(int64_t lanes) {
  switch (lanes) {
  case 1: return Fma1;
  case 2: return Fma2;
  case 4: return Fma4;
  case 8: return Fma8;
  default: return Fma16;
  }
}

const FloatFamily &floatFamily(const Machine &machine, int64_t lanes) {
  if (machine.is("aarch64") && lanes == LaneFma.lanes)
    return LaneFma;
  return fmaFamily(lanes);
}

ArrayRef<Kernel> allKernels() {
  static const Kernel table[] = {
#define EDGECC_KERNEL(name, lhs, rhs, acc, m, n, k, arch, feature, family)                                                       \
  {#name, KernelType::lhs, KernelType::rhs, KernelType::acc, m, n, k, arch, feature, family},
#include "passes/kernels/kernels.def"
#undef EDGECC_KERNEL
  };
  return table;
}

std::optional<KernelType> kernelType(Type element) {
  if (element.isF32())
    return KernelType::F32;
  if (element.isF16())
    return KernelType::F16;
  if (element.isBF16())
    return KernelType::BF16;
  return std::nullopt;
}

SmallVector<const Kernel *> kernelsFor(const Machine &machine, KernelType lhs, KernelType rhs) {
  SmallVector<const Kernel *> rows;
  for (const Kernel &row : allKernels()) {
    bool fits = (row.arch.empty() || machine.is(row.arch)) && (row.feature.empty() || machine.has(row.feature));
    if (!fits || row.lhs != lhs || row.rhs != rhs)
      continue;
    // Rows of one feature belong together: a tail is done with the same registers as the rest.
    if (!rows.empty() && (rows.back()->arch != row.arch || rows.back()->feature != row.feature))
      rows.clear();
    rows.push_back(&row);
  }
  llvm::stable_sort(rows, [](const Kernel *a, const Kernel *b) { return a->m > b->m; });
  return rows;
}

Machine Machine::of(Operation *insideModule) {
  Machine machine;
  for (Operation *op = insideModule; op && !machine.target; op = op->getParentOp())
    machine.target = op->getAttrOfType<edge::TargetAttr>(edge::EdgeDialect::kTargetAttr);
  return machine;
}

} // namespace edgecc

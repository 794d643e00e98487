//===- Machine.h - What the target can do, for whoever emits code -----------===//
#ifndef EDGECC_PASSES_KERNELS_MACHINE_H
#define EDGECC_PASSES_KERNELS_MACHINE_H

#include "dialects/edge/EdgeDialect.h"

namespace edgecc {

/// The CPU variant of a module (`edge.target`). Without the attribute: vectors of 4 floats and nothing special, which all
/// targets can run.
class Machine {
public:
  static Machine of(mlir::Operation *insideModule);

  llvm::StringRef arch() const { return target ? target.getArch().getValue() : ""; }
  bool is(llvm::StringRef arch) const { return target && target.getArch() == arch; }
  bool has(llvm::StringRef feature) const { return target && target.has(feature); }
  /// Floats in one vector register.
  int64_t lanes() const { return has("avx512") ? 16 : has("avx2") ? 8 : 4; }
  /// Floats in one step of a row operation: enough independent registers to hide the latency of an addition.
  int64_t sweepLanes() const { return has("avx512") ? 32 : 16; }

private:
  edge::TargetAttr target;
};

} // namespace edgecc
#endif // EDGECC_PASSES_KERNELS_MACHINE_H

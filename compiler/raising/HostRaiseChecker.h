//===- HostRaiseChecker.h - Raised layers against their nodes, on this machine -===//
#ifndef EDGECC_COMPILER_RAISING_HOSTRAISECHECKER_H
#define EDGECC_COMPILER_RAISING_HOSTRAISECHECKER_H

#include "mlir/IR/BuiltinOps.h"
#include "passes/normalize/RaiseCheck.h"
#include <map>

namespace edgecc {

/// Compiles both sides of a claim with the compiler's own code generator and runs them in this process on random values, for a
/// few small sizes (batches of more than one, caches that hold something) within the bounds of the model. Claims that are the
/// same but for their data, as those of a model's layers are, are tried once.
class HostRaiseChecker : public RaiseChecker {
public:
  explicit HostRaiseChecker(unsigned threads) : threads(threads) {}

  std::vector<ClaimVerdict> check(mlir::func::FuncOp function, llvm::ArrayRef<Claim> claims) override;

private:
  unsigned threads;
  std::map<std::string, ClaimVerdict> known; ///< by digest of the claim's module
  llvm::DenseMap<mlir::Attribute, std::string> constants;
};

} // namespace edgecc
#endif // EDGECC_COMPILER_RAISING_HOSTRAISECHECKER_H

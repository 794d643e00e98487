//===- Extent.h - Sizes outside the IR ----------------------------------------===//
#ifndef EDGECC_COMPILER_PACKAGE_EXTENT_H
#define EDGECC_COMPILER_PACKAGE_EXTENT_H

#include "mlir/IR/AffineMap.h"
#include "runtime/schema/model_generated.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace edgecc {

/// `expr` over the module's symbols as the postfix program that the runtime evaluates. Fails if it exceeds the loader's limits.
llvm::Expected<std::vector<fb::Instruction>> postfix(mlir::AffineExpr expr);

/// The value of `expr` where symbol i is values[i]; a division by zero gives 0.
int64_t evaluate(mlir::AffineExpr expr, llvm::ArrayRef<int64_t> values);

} // namespace edgecc
#endif // EDGECC_COMPILER_PACKAGE_EXTENT_H

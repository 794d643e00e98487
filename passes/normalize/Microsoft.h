//===- Microsoft.h - What the com.microsoft rows share ----------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_MICROSOFT_H
#define EDGECC_PASSES_NORMALIZE_MICROSOFT_H

#include "passes/normalize/Raise.h"

namespace edgecc {

/// The sum, in the shape of the first term.
mlir::Value addAll(NodeContext &node, llvm::ArrayRef<mlir::Value> terms);
/// Rows of attention operators; called by addMicrosoft.
void addMicrosoftAttention(ConversionTable &table);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_MICROSOFT_H

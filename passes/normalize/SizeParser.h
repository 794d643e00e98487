//===- SizeParser.h - Sizes as exporters write them -------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_SIZEPARSER_H
#define EDGECC_PASSES_NORMALIZE_SIZEPARSER_H

#include "mlir/IR/AffineExpr.h"
#include "llvm/ADT/StringRef.h"

namespace edgecc {

/// A dim_param as an expression: names, integers, + - * // and parentheses ("past_sequence_length + sequence_length"). A text
/// that is no such expression is one name as a whole. `symbolNamed` numbers the names.
mlir::AffineExpr parseSize(llvm::StringRef text, mlir::MLIRContext *context,
                           llvm::function_ref<unsigned(llvm::StringRef)> symbolNamed);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_SIZEPARSER_H

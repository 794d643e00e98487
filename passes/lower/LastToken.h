//===- LastToken.h - Computing only what is asked of the last token ---------===//
#ifndef EDGECC_PASSES_LOWER_LASTTOKEN_H
#define EDGECC_PASSES_LOWER_LASTTOKEN_H

#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace edgecc::lower {

/// Cuts those results of `function` that have a row per token, `tokens` rows [..., tokens, n] behind a linear layer, to the last
/// row, and everything before them as far as tokens are computed apart from each other: back to the last attention. Returns
/// whether there was such a result. Nothing changes if not.
bool keepLastToken(mlir::func::FuncOp function, mlir::AffineExpr tokens);

} // namespace edgecc::lower
#endif // EDGECC_PASSES_LOWER_LASTTOKEN_H

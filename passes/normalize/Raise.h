//===- Raise.h - Layers found in what exporters wrote -----------------------===//
//
// Raising looks back: the row of the last node of a layer (the MatMul of attention, the Add of a rotation, the Mul of a norm)
// first asks here whether the nodes behind it are that layer. What was converted on the way is then dead.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_RAISE_H
#define EDGECC_PASSES_NORMALIZE_RAISE_H

#include "passes/normalize/Converter.h"

namespace edgecc {

/// `rows` written behind what the cache `past` holds, in place. `past.stateValue` must be set. rows `[batch, heads, tokens, dim]`, or
/// `[batch, tokens, heads, dim]`. The result is the cache afterwards, as a state with past + tokens positions.
TensorInfo appendToState(NodeContext &node, TensorInfo &past, mlir::Value rows, bool rowsHeadsFirst);

/// If `value` is `[a, b, c, d]` made by transposing `[a, c, b, d]`: replaces it by what was transposed.
bool undoHeadTranspose(mlir::Value &value);

/// These set result 0 of the node and return true if the node ends such a layer; else they change nothing.
bool raiseAttention(NodeContext &node); // MatMul
bool raiseRope(NodeContext &node);      // Add, Concat
bool raiseNorm(NodeContext &node);      // Mul, Div, Add

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_RAISE_H

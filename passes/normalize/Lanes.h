//===- Lanes.h - Which elements of a row come from where --------------------===//
//
// Exporters take the last dimension apart and put it together again in many ways: strided slices, splits, halves, a dimension of
// 2, stacked and flattened. So these nodes are not matched: each element of a row ("lane") is followed back to the element it is.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_LANES_H
#define EDGECC_PASSES_NORMALIZE_LANES_H

#include "passes/normalize/Raise.h"

namespace edgecc {

struct Lane {
  mlir::Value leaf; // onnx: not made by rearranging
  int64_t index;    // in a row of it
  bool negated = false;
};
using Lanes = llvm::SmallVector<Lane>;

/// What the lanes of a row may have gone through, besides being rearranged within the row.
enum class LaneTrace {
  Exact, // casts between float types and signs: row r of the value is row r of the leaf
  Column // anything that treats all lanes of a row alike: other rows, other ranks, elementwise functions
};

/// The last `count` elements of each row of `value` (its last dimensions, whose sizes multiply to `count`), or nothing.
std::optional<Lanes> lanesOf(NodeContext &node, mlir::Value value, int64_t count, LaneTrace trace, mlir::Value leaf = {});

/// Whether two lanes of a table are equal in all rows.
bool areEqual(NodeContext &node, const Lane &a, const Lane &b);

/// The input of a node that rearranges within rows; null for others.
mlir::Value beforeRearranging(mlir::Value value);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_LANES_H

//===- Checked.h - Which values inputs may have -----------------------------===//
//
// A session counts by itself how much its caches hold. Inputs of the graph that can only say the same (a mask without padding,
// positions, lengths) are no arguments: they stand in an attribute of the function, so that a caller may still give them and the
// runtime refuses other values. Arguments have an attribute where not every value is allowed.
//
// Values are a dictionary with one of these keys:
//   equal = map        every element is the map's result
//   counting = map     the map's result + the index along the last axis
//   below = map        1 where the index along the last axis is less than the map's result, else 0
//   range = [low, high]    integers from low to high, both included
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_DIALECTS_EDGE_CHECKED_H
#define EDGECC_DIALECTS_EDGE_CHECKED_H

#include "llvm/ADT/StringRef.h"

namespace edgecc::edge {

/// Of a function: [{name, element, shape = map, values}, ...]. Of a plan.tensor: it is one of these.
constexpr llvm::StringLiteral kCheckedAttr = "edge.checked";
/// Of an argument or a plan.tensor: its values.
constexpr llvm::StringLiteral kValuesAttr = "edge.values";
/// Of a function or a plan.entry: a map, whose results are sizes that bounds do not keep from being negative. The runtime refuses
/// a call where one is: code would read or write outside of a tensor.
constexpr llvm::StringLiteral kSizesAttr = "edge.sizes";

} // namespace edgecc::edge
#endif // EDGECC_DIALECTS_EDGE_CHECKED_H

//===- extent.h - Sizes as postfix programs ---------------------------------===//
//
// Why interval arithmetic at load: once the bounds of every intermediate value fit in 64 bits, evaluation needs no checks.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_EXTENT_H
#define EDGECC_RUNTIME_EXTENT_H

#include "edgecc/edgecc.h"
#include "runtime/schema/model_generated.h"

namespace edgecc::rt {

struct Interval {
  int64_t min, max;
};

/// The program's fault as a sentence, or null; on success the bounds of its value. Total: takes any program, with the
/// vector itself known to lie inside the file. `symbols` are already verified.
const char *checkExtent(const fb::Extent &extent, const flatbuffers::Vector<flatbuffers::Offset<fb::Symbol>> &symbols,
                        Interval &bounds);

/// The value of a checked program; `dims` are within the symbols' bounds.
int64_t evaluate(const fb::Extent &extent, const int64_t *dims);

/// The same with one value for every symbol.
int64_t evaluateUniform(const fb::Extent &extent, int64_t value);

/// The symbol's index if the extent is exactly one symbol, else -1.
int64_t pureSymbol(const fb::Extent &extent);

/// "past + sequence", infix, cut with "..." if it does not fit.
void writeExtent(const fb::Extent &extent, const flatbuffers::Vector<flatbuffers::Offset<fb::Symbol>> &symbols, char *text,
                 size_t size);

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_EXTENT_H

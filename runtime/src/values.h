//===- values.h - Which values an input may have ----------------------------===//
//
// Why the runtime looks at values at all: what the compiler counts by itself (masks, positions, lengths) a caller may still give,
// and a value that the model would not follow must be an error, not a wrong answer.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_VALUES_H
#define EDGECC_RUNTIME_VALUES_H

#include "runtime/src/session.h"

namespace edgecc::rt {

/// Refuses integers outside of the tensor's range, if it has one. `data` need not be aligned.
edgecc_status checkRange(const fb::Entry &entry, const fb::Tensor &tensor, const int64_t *shape, const void *data,
                         edgecc_error *error);

/// Refuses elements of input `index` that are not what its rule says at these values of the symbols.
edgecc_status checkRule(const fb::Entry &entry, uint32_t index, const Slot &slot, const int64_t *dims, edgecc_error *error);

/// "must be 0 to 49", "optional, must count up from past", or "" if any value will do.
void writeValues(const fb::Tensor &tensor, bool isOptional, const flatbuffers::Vector<flatbuffers::Offset<fb::Symbol>> &symbols,
                 char *text, size_t size);

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_VALUES_H

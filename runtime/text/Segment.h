//===- Segment.h - The sections of a text segment ----------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_SEGMENT_H
#define EDGECC_RUNTIME_TEXT_SEGMENT_H

#include "runtime/text/format.h"

#include <stddef.h>
#include <string_view>

namespace edgecc::text {

/// A text segment in memory that somebody else owns.
class Segment {
public:
  /// Checks the table of sections. Returns null, or a static sentence that says what is wrong.
  const char *open(const void *data, size_t size);
  /// Bytes of the first section of this kind; empty if there is none.
  std::string_view section(SectionKind kind) const;

private:
  const char *bytes = nullptr;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_SEGMENT_H

//===- SegmentWriter.h - Puts the sections of a text segment together --------===//
#ifndef EDGECC_COMPILER_TEXT_SEGMENTWRITER_H
#define EDGECC_COMPILER_TEXT_SEGMENTWRITER_H

#include "runtime/text/format.h"

#include <string>
#include <utility>
#include <vector>

namespace edgecc::text {

class SegmentWriter {
public:
  void add(SectionKind kind, std::string bytes) { sections.emplace_back(kind, std::move(bytes)); }
  bool empty() const { return sections.empty(); }
  /// Returns the bytes of the segment: header, table, then the sections in the order they were added.
  std::string finish() const;

private:
  std::vector<std::pair<SectionKind, std::string>> sections;
};

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_SEGMENTWRITER_H

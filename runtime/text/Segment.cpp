//===- Segment.cpp - The sections of a text segment --------------------------===//
#include "runtime/text/Segment.h"

#include <string.h>

namespace edgecc::text {

static_assert(sizeof(SegmentHeader) == 16 && sizeof(SectionEntry) == 24, "the layout is the same on every platform");

const char *Segment::open(const void *data, size_t size) {
  bytes = nullptr;
  SegmentHeader header;
  if (size < sizeof(header))
    return "the text segment is shorter than its header";
  memcpy(&header, data, sizeof(header));
  if (memcmp(header.magic, kTextMagic, sizeof(kTextMagic)) != 0)
    return "the text segment has another format: compile the model again";
  if (header.version != kTextVersion)
    return "the text segment has another version than this library: compile the model again";
  if (header.sectionCount > kMaxSections || header.sectionCount > (size - sizeof(header)) / sizeof(SectionEntry))
    return "the text segment has too many sections";
  for (uint32_t i = 0; i < header.sectionCount; ++i) {
    SectionEntry entry;
    memcpy(&entry, static_cast<const char *>(data) + sizeof(header) + i * sizeof(entry), sizeof(entry));
    if (entry.offset % 16 != 0 || entry.offset > size || entry.length > size - entry.offset)
      return "a section lies outside of the text segment";
  }
  bytes = static_cast<const char *>(data);
  return nullptr;
}

std::string_view Segment::section(SectionKind kind) const {
  if (!bytes)
    return {};
  SegmentHeader header;
  memcpy(&header, bytes, sizeof(header));
  for (uint32_t i = 0; i < header.sectionCount; ++i) {
    SectionEntry entry;
    memcpy(&entry, bytes + sizeof(header) + i * sizeof(entry), sizeof(entry));
    if (entry.kind == static_cast<uint32_t>(kind))
      return {bytes + entry.offset, static_cast<size_t>(entry.length)};
  }
  return {};
}

} // namespace edgecc::text

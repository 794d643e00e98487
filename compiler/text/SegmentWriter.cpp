//===- SegmentWriter.cpp - Puts the sections of a text segment together ------===//
#include "compiler/text/SegmentWriter.h"

#include <cstring>

namespace edgecc::text {

static void alignTo16(std::string &bytes) { bytes.resize((bytes.size() + 15) / 16 * 16); }

std::string SegmentWriter::finish() const {
  SegmentHeader header = {};
  memcpy(header.magic, kTextMagic, sizeof(kTextMagic));
  header.version = kTextVersion;
  header.sectionCount = uint32_t(sections.size());
  std::string result(sizeof(header) + sections.size() * sizeof(SectionEntry), 0);
  memcpy(result.data(), &header, sizeof(header));
  for (size_t i = 0; i < sections.size(); ++i) {
    alignTo16(result);
    SectionEntry entry = {uint32_t(sections[i].first), 0, result.size(), sections[i].second.size()};
    memcpy(result.data() + sizeof(header) + i * sizeof(entry), &entry, sizeof(entry));
    result += sections[i].second;
  }
  return result;
}

} // namespace edgecc::text

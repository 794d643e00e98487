//===- format.h - Layout of the text segment of model.edge -------------------===//
//
//   0               16                                 section.offset
//   | SegmentHeader | SectionEntry * sectionCount      | section | padding | section ...
//
// All integers are little-endian. Sections start at multiples of 16 bytes from the start of the segment, which itself is aligned
// to 4096 bytes. Each kind of section has its own layout, with its own verifier: `tokenizer/`, `templates/`.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_FORMAT_H
#define EDGECC_RUNTIME_TEXT_FORMAT_H

#include <stdint.h>

namespace edgecc::text {

struct SegmentHeader {
  char magic[4];         ///< kTextMagic
  uint32_t version;      ///< kTextVersion
  uint32_t sectionCount; ///< at most kMaxSections
  uint32_t reserved;     ///< 0
};

enum class SectionKind : uint32_t {
  Tokenizer = 1,  ///< vocabulary, merges, automata, normalization (tokenizer/)
  Template = 2,   ///< chat template (templates/)
  Generation = 3, ///< a GenerationDefaults and its stop ids
};

struct SectionEntry {
  uint32_t kind;     ///< a SectionKind; unknown ones are ignored
  uint32_t reserved; ///< 0
  uint64_t offset;   ///< from the start of the segment, a multiple of 16
  uint64_t length;   ///< in bytes
};

/// Default sampling parameters of a model (generation_config.json). `stopCount` ids (int32_t) follow: tokens that end an answer.
struct GenerationDefaults {
  float temperature; ///< 0: greedy
  float topP, minP, repetitionPenalty;
  uint32_t topK;
  uint32_t stopCount; ///< at most kMaxStopIds
};
constexpr uint32_t kMaxStopIds = 1024;

constexpr char kTextMagic[4] = {'E', 'T', 'X', 'T'};
constexpr uint32_t kTextVersion = 1;
constexpr uint32_t kMaxSections = 64;

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_FORMAT_H

//===- Normalizer.h - Rewrites text before it is split into tokens -----------===//
//
// A normalizer is a list of steps that run in order. Layout, aligned to 4, every part padded to 4:
//
//   NormalizerHeader | NormalizerStep * stepCount | data of the steps
//
//   Map          CodeTable; uint32_t count; uint32_t entries[count] (offset << 8 | length); strings in UTF-8
//   Canonical    uint32_t ordersSize; CodeTable of orders; a Map of decompositions; see NormalizerStep::argument
//   Replace      uint32_t length; the new text; an automaton
//   Prepend      uint32_t length; the text
//   Strip        an automaton of the characters to remove
//   Precompiled  uint32_t automatonSize; uint32_t unitCount; an automaton of grapheme clusters; uint32_t units[]; strings
//
// A CodeTable is uint32_t middleCount, leafCount; uint16_t planes[272], middle[middleCount][64], leaves[leafCount][64], indexed
// as in Automaton.h. The orders of Canonical are canonical combining classes; 255 is class 0 that combines with what is before.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_UNICODE_NORMALIZER_H
#define EDGECC_RUNTIME_TEXT_UNICODE_NORMALIZER_H

#include "runtime/text/Buffer.h"
#include "runtime/text/unicode/Automaton.h"

namespace edgecc::text {

struct NormalizerHeader {
  char magic[4]; ///< kNormalizerMagic
  uint32_t stepCount;
};

enum class StepKind : uint32_t {
  Map = 1,         ///< replaces characters one by one
  Canonical = 2,   ///< decomposes, orders and, with an argument, composes
  Replace = 3,     ///< replaces the matches of a pattern
  Prepend = 4,     ///< puts a text before one that is not empty
  Strip = 5,       ///< removes characters at the start (argument bit 0) and at the end (bit 1)
  Precompiled = 6, ///< SentencePiece's character map, as HF's Precompiled applies it
};

struct NormalizerStep {
  uint32_t kind;     ///< a StepKind
  uint32_t offset;   ///< of its data, from the start of the normalizer
  uint32_t size;     ///< of its data in bytes, a multiple of 4
  uint32_t argument; ///< of Canonical: number of CompositionPair at the end of its data
};

/// Two characters that compose. Pairs are sorted by `first`, then `second`.
struct CompositionPair {
  uint32_t first, second, composed;
};

constexpr char kNormalizerMagic[4] = {'E', 'N', 'O', '1'};
constexpr uint32_t kMaxNormalizerSteps = 32;
constexpr uint16_t kCombinesBackward = 255;
constexpr char kItself = 0; ///< in a replacement of Map: the character that it replaces

/// Memory that a normalizer reuses between calls.
struct NormalizerScratch {
  Buffer<char> text[2];
  Buffer<uint32_t> origins[2];
  Buffer<uint64_t> segment, sorted; ///< code << 32 | origin
};

/// A normalizer in memory that somebody else owns.
class Normalizer {
public:
  /// Checks every table. Returns null, or a static sentence that says what is wrong.
  const char *open(const void *data, size_t size);
  /// Writes the normalized form of `text`, of less than 4 GB, to `out`. Invalid UTF-8 in steps that change text becomes U+FFFD.
  /// With `origins`, each byte of `out` gets the offset of the byte of `text` from which it comes. Returns false when memory is
  /// exhausted.
  bool run(std::string_view text, NormalizerScratch &scratch, Buffer<char> &out, Buffer<uint32_t> *origins) const;

private:
  const char *bytes = nullptr;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_UNICODE_NORMALIZER_H

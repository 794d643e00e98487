//===- Automaton.h - Finds what a compiled pattern matches -------------------===//
//
// A pattern becomes a deterministic automaton over classes of characters. Layout of its bytes, aligned to 4:
//
//   AutomatonHeader
//   uint32_t starts[classCount + 1]                   start state by the class of the character before; the last: start of text
//   uint32_t transitions[stateCount][classCount + 1]  by the class of the next character; the last column: end of text
//   uint16_t planes[272]                              code >> 12 to a row of `middle`
//   uint16_t middle[middleCount][64]                  bits 6 to 11 of the code to a row of `leaves`
//   uint8_t ascii[128]                                class of an ASCII character
//   uint8_t leaves[leafCount][64]                     bits 0 to 5 of the code to a class
//
// States are offsets into `transitions`. State 0 is dead: it has no way to a match. A transition with kMatchBit says that the
// text before the next character is a match. Matches are seen one character late, so a look-ahead costs nothing.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_UNICODE_AUTOMATON_H
#define EDGECC_RUNTIME_TEXT_UNICODE_AUTOMATON_H

#include "runtime/text/unicode/Utf8.h"

#include <string_view>

namespace edgecc::text {

struct AutomatonHeader {
  char magic[4];        ///< kAutomatonMagic
  uint32_t stateCount;  ///< at least 1
  uint16_t classCount;  ///< 1 to 255
  uint16_t flags;       ///< kAutomatonLooksBehind or 0
  uint16_t middleCount; ///< at least 1
  uint16_t leafCount;   ///< at least 1
};

constexpr char kAutomatonMagic[4] = {'E', 'A', 'U', '1'};
constexpr uint32_t kMatchBit = 0x80000000;
constexpr uint32_t kAutomatonLooksBehind = 1; ///< starts differ by the character before
constexpr uint32_t kPlaneCount = 0x110000 >> 12;
constexpr size_t kMaxAutomatonBytes = 256 * 1024;

/// An automaton in memory that somebody else owns.
class Automaton {
public:
  static constexpr size_t kNoMatch = SIZE_MAX;

  /// Checks every table. Returns null, or a static sentence that says what is wrong. All other functions need an open automaton.
  const char *open(const void *data, size_t size);
  /// Opens an automaton that open() has checked before.
  void openChecked(const void *data);
  bool isOpen() const { return transitions != nullptr; }

  /// Returns the end of the match that starts at `from`, at most text.size(), or kNoMatch. Among several ends it takes the one
  /// that a backtracking engine tries first.
  size_t matchAt(std::string_view text, size_t from) const;
  /// Finds the first match that starts at `from` or after it. A match may be empty: see Matches. The time is linear for patterns
  /// of known tokenizers. It is quadratic where a long attempt fails and a shorter match takes its place:
  /// "a+b|a" reads a run of "a" to its end for each of them.
  bool find(std::string_view text, size_t from, size_t &begin, size_t &end) const;
  /// Returns whether the pattern matches this one character. It tells classes, such as "[\s]", without a text.
  bool matches(uint32_t code) const;

private:
  uint32_t classOf(uint32_t code) const {
    return leaves[middle[planes[code >> 12] * 64u + (code >> 6 & 63)] * 64u + (code & 63)];
  }

  const uint32_t *starts = nullptr, *transitions = nullptr;
  const uint16_t *planes = nullptr, *middle = nullptr;
  const uint8_t *ascii = nullptr, *leaves = nullptr;
  uint32_t classCount = 0;
  bool looksBehind = false;
};

/// Goes through the matches of a text in order. An empty match that touches the match before it is skipped, as HF tokenizers and
/// Rust's find_iter do.
class Matches {
public:
  Matches(const Automaton &automaton, std::string_view text) : automaton(automaton), text(text) {}
  /// Finds the next match. Returns false when there is none.
  bool next(size_t &begin, size_t &end);

private:
  const Automaton &automaton;
  const std::string_view text;
  size_t position = 0, lastEnd = SIZE_MAX;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_UNICODE_AUTOMATON_H

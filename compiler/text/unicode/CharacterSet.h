//===- CharacterSet.h - Sets of Unicode characters ---------------------------===//
#ifndef EDGECC_COMPILER_TEXT_UNICODE_CHARACTERSET_H
#define EDGECC_COMPILER_TEXT_UNICODE_CHARACTERSET_H

#include <cstdint>
#include <string_view>
#include <vector>

namespace edgecc::text {

constexpr uint32_t kLastCharacter = 0x10FFFF;

/// A set of code points, kept as sorted ranges that neither touch nor overlap.
class CharacterSet {
public:
  struct Range {
    uint32_t first, last;
    bool operator==(const Range &other) const { return first == other.first && last == other.last; }
    bool operator<(const Range &other) const { return first != other.first ? first < other.first : last < other.last; }
  };

  CharacterSet() = default;
  CharacterSet(uint32_t first, uint32_t last) : ranges{{first, last}} {}
  static CharacterSet all() { return {0, kLastCharacter}; }
  /// Returns the set of characters for which `contains` returns true.
  template <typename Predicate> static CharacterSet where(Predicate contains) {
    CharacterSet result;
    for (uint32_t code = 0; code <= kLastCharacter; ++code)
      if (contains(code))
        result.append(code);
    return result;
  }

  const std::vector<Range> &getRanges() const { return ranges; }
  bool empty() const { return ranges.empty(); }
  bool contains(uint32_t code) const;
  void add(uint32_t first, uint32_t last);
  void add(const CharacterSet &other);
  void remove(const CharacterSet &other);
  void intersect(const CharacterSet &other);
  CharacterSet complement() const;
  /// Returns the set with every character that has the same simple case folding as one of its own.
  CharacterSet closedOverCase() const;
  bool operator==(const CharacterSet &other) const { return ranges == other.ranges; }
  bool operator<(const CharacterSet &other) const { return ranges < other.ranges; }

private:
  /// Adds `code`, which is larger than every character of the set.
  void append(uint32_t code) {
    if (!ranges.empty() && ranges.back().last + 1 == code)
      ++ranges.back().last;
    else
      ranges.push_back({code, code});
  }

  std::vector<Range> ranges;
};

/// Finds the set of a property as `\p{name}` writes it: a general category, a script or a binary property. Blanks, hyphens,
/// underscores and case do not count. Returns false if there is none.
bool findProperty(std::string_view name, CharacterSet &set);

/// Returns the characters whose general category is one of `mask` (ICU's U_GC_..._MASK).
CharacterSet categorySet(uint32_t mask);
CharacterSet whitespaceSet();
CharacterSet decimalDigitSet();
/// Returns the characters of `\w`: alphabetic ones, marks, decimal digits and connectors.
CharacterSet wordSet();

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_UNICODE_CHARACTERSET_H

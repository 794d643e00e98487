//===- CharacterSet.cpp - Sets of Unicode characters -------------------------===//
#include "compiler/text/unicode/CharacterSet.h"

#include <algorithm>
#include <map>
#include <string>
#include <unicode/uchar.h>
#include <unicode/uscript.h>

namespace edgecc::text {

bool CharacterSet::contains(uint32_t code) const {
  auto after =
      std::upper_bound(ranges.begin(), ranges.end(), code, [](uint32_t c, const Range &range) { return c < range.first; });
  return after != ranges.begin() && code <= std::prev(after)->last;
}

void CharacterSet::add(uint32_t first, uint32_t last) { add(CharacterSet(first, last)); }

void CharacterSet::add(const CharacterSet &other) {
  std::vector<Range> sorted(ranges.size() + other.ranges.size());
  std::merge(ranges.begin(), ranges.end(), other.ranges.begin(), other.ranges.end(), sorted.begin());
  ranges.clear();
  for (const Range &range : sorted) {
    if (!ranges.empty() && range.first <= ranges.back().last + 1)
      ranges.back().last = std::max(ranges.back().last, range.last);
    else
      ranges.push_back(range);
  }
}

CharacterSet CharacterSet::complement() const {
  CharacterSet result;
  uint32_t next = 0;
  for (const Range &range : ranges) {
    if (range.first > next)
      result.ranges.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCharacter)
    result.ranges.push_back({next, kLastCharacter});
  return result;
}

void CharacterSet::remove(const CharacterSet &other) { intersect(other.complement()); }

void CharacterSet::intersect(const CharacterSet &other) {
  CharacterSet outside = complement();
  outside.add(other.complement());
  *this = outside.complement();
}

CharacterSet CharacterSet::closedOverCase() const {
  static const std::map<uint32_t, CharacterSet> orbits = [] {
    std::map<uint32_t, CharacterSet> result;
    for (uint32_t code = 0; code <= kLastCharacter; ++code) {
      const auto folded = uint32_t(u_foldCase(UChar32(code), U_FOLD_CASE_DEFAULT));
      if (folded == code)
        continue;
      result[folded].add(code, code);
      result[folded].add(folded, folded);
    }
    return result;
  }();
  CharacterSet result = *this;
  for (const auto &[folded, orbit] : orbits)
    if (std::any_of(orbit.ranges.begin(), orbit.ranges.end(), [&](const Range &range) {
      for (uint32_t code = range.first; code <= range.last; ++code)
        if (contains(code))
          return true;
      return false;
    }))
      result.add(orbit);
  return result;
}

namespace {

struct Change {
  uint32_t first, last;
  int32_t value;
};

// Names in Unicode16.def, in ICU's words.
constexpr int32_t Lu = U_UPPERCASE_LETTER, Ll = U_LOWERCASE_LETTER, Lm = U_MODIFIER_LETTER, Lo = U_OTHER_LETTER,
                  Mn = U_NON_SPACING_MARK, Mc = U_COMBINING_SPACING_MARK, Nd = U_DECIMAL_DIGIT_NUMBER, No = U_OTHER_NUMBER,
                  Pd = U_DASH_PUNCTUATION, Po = U_OTHER_PUNCTUATION, Sm = U_MATH_SYMBOL, So = U_OTHER_SYMBOL, Cf = U_FORMAT_CHAR;
constexpr Change kCategories[] = {
#define EDGECC_CATEGORY(first, last, category) {first, last, category},
#define EDGECC_BINARY(first, last, property)
#define EDGECC_SCRIPT(first, last, script)
#include "compiler/text/unicode/Unicode16.def"
#undef EDGECC_CATEGORY
#undef EDGECC_BINARY
#undef EDGECC_SCRIPT
};
constexpr Change kBinaries[] = {
#define EDGECC_CATEGORY(first, last, category)
#define EDGECC_BINARY(first, last, property) {first, last, UCHAR_##property},
#define EDGECC_SCRIPT(first, last, script)
#include "compiler/text/unicode/Unicode16.def"
#undef EDGECC_CATEGORY
#undef EDGECC_BINARY
#undef EDGECC_SCRIPT
};
constexpr Change kScripts[] = {
#define EDGECC_CATEGORY(first, last, category)
#define EDGECC_BINARY(first, last, property)
#define EDGECC_SCRIPT(first, last, script) {first, last, USCRIPT_##script},
#include "compiler/text/unicode/Unicode16.def"
#undef EDGECC_CATEGORY
#undef EDGECC_BINARY
#undef EDGECC_SCRIPT
};

/// Adds the characters that got `value` after ICU's version of Unicode.
template <size_t N> CharacterSet withChanges(CharacterSet set, const Change (&changes)[N], int32_t value) {
  for (const Change &change : changes)
    if (change.value == value)
      set.add(change.first, change.last);
  return set;
}

CharacterSet binarySet(UProperty property) {
  CharacterSet set = CharacterSet::where([&](uint32_t code) { return u_hasBinaryProperty(UChar32(code), property); });
  return withChanges(std::move(set), kBinaries, property);
}

} // namespace

CharacterSet categorySet(uint32_t mask) {
  CharacterSet set = CharacterSet::where([&](uint32_t code) { return (U_MASK(u_charType(UChar32(code))) & mask) != 0; });
  for (const Change &change : kCategories)
    if (U_MASK(change.value) & mask)
      set.add(change.first, change.last);
    else
      set.remove({change.first, change.last});
  return set;
}

CharacterSet whitespaceSet() { return binarySet(UCHAR_WHITE_SPACE); }

CharacterSet decimalDigitSet() { return categorySet(U_GC_ND_MASK); }

CharacterSet wordSet() {
  CharacterSet set = binarySet(UCHAR_ALPHABETIC);
  set.add(categorySet(U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK));
  return set;
}

bool findProperty(std::string_view name, CharacterSet &set) {
  // The name of a property between slashes, and ICU's mask of general categories.
  static constexpr std::pair<std::string_view, uint32_t> unions[] = {
      {"l", U_GC_L_MASK},      {"letter", U_GC_L_MASK}, {"m", U_GC_M_MASK},   {"mark", U_GC_M_MASK},
      {"n", U_GC_N_MASK},      {"number", U_GC_N_MASK}, {"p", U_GC_P_MASK},   {"punctuation", U_GC_P_MASK},
      {"s", U_GC_S_MASK},      {"symbol", U_GC_S_MASK}, {"z", U_GC_Z_MASK},   {"separator", U_GC_Z_MASK},
      {"c", U_GC_C_MASK},      {"other", U_GC_C_MASK},  {"lc", U_GC_LC_MASK}, {"casedletter", U_GC_LC_MASK},
      {"digit", U_GC_ND_MASK}, {"punct", U_GC_P_MASK}};
  std::string plain;
  for (char c : name)
    if (c != ' ' && c != '_' && c != '-')
      plain += char(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (plain == "any") {
    set = CharacterSet::all();
    return true;
  }
  if (plain == "ascii") {
    set = CharacterSet(0, 127);
    return true;
  }
  uint32_t mask = 0;
  for (const auto &[key, value] : unions)
    if (plain == key)
      mask = value;
  if (!mask)
    if (const int32_t value = u_getPropertyValueEnum(UCHAR_GENERAL_CATEGORY, plain.c_str()); value != UCHAR_INVALID_CODE)
      mask = uint32_t(1) << value;
  if (mask) {
    set = categorySet(mask);
    return true;
  }
  if (const int32_t script = u_getPropertyValueEnum(UCHAR_SCRIPT, plain.c_str()); script != UCHAR_INVALID_CODE) {
    set = CharacterSet::where([&](uint32_t code) { return u_getIntPropertyValue(UChar32(code), UCHAR_SCRIPT) == script; });
    set = withChanges(std::move(set), kScripts, script);
    return true;
  }
  // Only properties whose later changes are known; \p{digit} and \p{space} are Oniguruma's names.
  static constexpr std::pair<std::string_view, UProperty> binaries[] = {{"alphabetic", UCHAR_ALPHABETIC},
                                                                        {"alpha", UCHAR_ALPHABETIC},
                                                                        {"uppercase", UCHAR_UPPERCASE},
                                                                        {"upper", UCHAR_UPPERCASE},
                                                                        {"lowercase", UCHAR_LOWERCASE},
                                                                        {"lower", UCHAR_LOWERCASE},
                                                                        {"whitespace", UCHAR_WHITE_SPACE},
                                                                        {"space", UCHAR_WHITE_SPACE},
                                                                        {"emoji", UCHAR_EMOJI},
                                                                        {"extendedpictographic", UCHAR_EXTENDED_PICTOGRAPHIC}};
  for (const auto &[key, property] : binaries)
    if (plain == key) {
      set = binarySet(property);
      return true;
    }
  return false;
}

} // namespace edgecc::text

//===- Characters.cpp - Unicode properties and case mappings -----------------===//
#include "runtime/text/templates/Characters.h"
#include "runtime/text/unicode/Utf8.h"

namespace edgecc::text {
namespace {

/// The mapping of `point` to two or three code points. A third of 1 says that seven more characters follow, whose mappings differ
/// in the first code point only: it grows by one each.
struct CaseExpansion {
  uint16_t point;
  uint16_t mapped[3];
};

#include "runtime/text/templates/CharacterTables.inc"

constexpr uint32_t kRunBlock = 64;

/// Returns the index of the last element whose bits of `mask` are at most `point`. The first element must be.
size_t findLast(const uint32_t *elements, size_t count, uint32_t mask, uint32_t point) {
  size_t low = 0, high = count;
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    if ((elements[middle] & mask) <= point)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/// Mappings of one kind. A range is first code point | (step - 1) << 17 | (count - 1) << 18 | index into kDifferences << 24.
struct CaseTable {
  const uint32_t *ranges;
  const CaseExpansion *expansions;
  uint8_t rangeCount, expansionCount;
  int8_t sign; ///< of kDifferences

  /// Returns how many code points `point` is mapped to, or 0 if it is not in the table.
  unsigned map(uint32_t point, uint32_t mapped[3]) const {
    for (unsigned i = 0; i < expansionCount; ++i) {
      const CaseExpansion &expansion = expansions[i];
      const uint32_t offset = point - expansion.point;
      if (offset > (expansion.mapped[2] == 1 ? 7 : 0))
        continue;
      mapped[0] = expansion.mapped[0] + offset;
      mapped[1] = expansion.mapped[1];
      mapped[2] = expansion.mapped[2];
      return mapped[2] > 1 ? 3 : 2;
    }
    constexpr uint32_t kFirst = (1u << 17) - 1;
    const uint32_t range = ranges[findLast(ranges, rangeCount, kFirst, point)];
    const uint32_t distance = point - (range & kFirst), step = (range >> 17 & 1) + 1;
    if (point < (range & kFirst) || distance % step != 0 || distance / step > (range >> 18 & 63))
      return 0;
    mapped[0] = point + uint32_t(sign * kDifferences[range >> 24]);
    return 1;
  }
};

template <size_t R, size_t E>
constexpr CaseTable tableOf(const uint32_t (&ranges)[R], const CaseExpansion (&expansions)[E], int8_t sign = 1) {
  static_assert(R < 256 && E < 256, "counts are bytes");
  return {ranges, expansions, R, E, sign};
}

} // namespace

uint32_t characterFlags(uint32_t point) {
  const size_t block = findLast(kRunPoints, sizeof(kRunPoints) / sizeof(kRunPoints[0]), UINT32_MAX, point);
  const uint8_t *at = kRuns + kRunPlaces[block];
  uint32_t first = kRunPoints[block];
  for (uint32_t i = 0; i < kRunBlock && at < kRuns + sizeof(kRuns); ++i) {
    const uint32_t kind = kRunKinds[*at >> 3];
    uint32_t length = *at++ & 7u;
    for (uint32_t shift = length ? 32 : 0; shift < 32; shift += 7) {
      length |= (*at & 0x7Fu) << shift;
      if (!(*at++ & 0x80))
        break;
    }
    if (point - first < length) {
      const bool swaps = kind >> 10 && ((point - first) & 1);
      return swaps ? (kind & 0x3ff) ^ (CharUpper | CharLower) : kind & 0x3ff;
    }
    first += length;
  }
  return 0;
}

unsigned mapCase(uint32_t point, Case to, uint32_t mapped[3]) {
  mapped[0] = point;
  if (point < 0x80) {
    const bool isUpper = point >= 'A' && point <= 'Z', isLower = point >= 'a' && point <= 'z';
    if (to == Case::Lower ? isUpper : isLower)
      mapped[0] = point ^ 32;
    return 1;
  }
  unsigned count = 0;
  if (to == Case::Lower) {
    count = tableOf(kLowerRanges, kLowerExpansions, -1).map(point, mapped);
  } else {
    if (to == Case::Title)
      count = tableOf(kTitleRanges, kTitleExpansions).map(point, mapped);
    if (count == 0)
      count = tableOf(kUpperRanges, kUpperExpansions).map(point, mapped);
  }
  return count ? count : 1;
}

uint32_t decodeCharacter(const char *at, const char *end, unsigned &length) {
  const Character character = decodeUtf8(at, size_t(end - at));
  // A broken start of a character counts byte by byte.
  const bool isBroken = character.code == kReplacementCharacter && (character.length != 3 || uint8_t(*at) != 0xEF);
  length = isBroken ? 1 : character.length;
  return character.code;
}

unsigned encodeCharacter(uint32_t point, char bytes[4]) { return unsigned(encodeUtf8(point, bytes)); }

bool isUtf8(const char *bytes, size_t size) {
  for (const char *at = bytes, *const end = bytes + size; at < end;) {
    unsigned length;
    if (decodeCharacter(at, end, length) == 0xfffd && length == 1)
      return false;
    at += length;
  }
  return true;
}

} // namespace edgecc::text

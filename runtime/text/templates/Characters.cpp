//===- Characters.cpp - Unicode properties and case mappings -----------------===//
#include "runtime/text/templates/Characters.h"

namespace edgecc::text {
namespace {

/// `count` code points from `first` in steps of `step`, each mapped to itself + `difference`.
struct CaseRange {
  uint32_t first;
  int32_t difference;
  uint16_t count;
  uint16_t step;
};
struct CaseExpansion {
  uint32_t point;
  uint16_t mapped[3];
};

#include "runtime/text/templates/CharacterTables.inc"

bool findRange(const CaseRange *ranges, size_t count, uint32_t point, uint32_t &mapped) {
  size_t low = 0, high = count;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (ranges[middle].first <= point)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0)
    return false;
  const CaseRange &range = ranges[low - 1];
  const uint32_t distance = point - range.first;
  if (distance % range.step != 0 || distance / range.step >= range.count)
    return false;
  mapped = uint32_t(int32_t(point) + range.difference);
  return true;
}

template <size_t R, size_t E>
unsigned map(const CaseRange (&ranges)[R], const CaseExpansion (&expansions)[E], uint32_t point, uint32_t mapped[3]) {
  for (const CaseExpansion &expansion : expansions) {
    if (expansion.point == point) {
      unsigned count = 0;
      while (count < 3 && expansion.mapped[count]) {
        mapped[count] = expansion.mapped[count];
        ++count;
      }
      return count;
    }
  }
  return findRange(ranges, R, point, mapped[0]) ? 1 : 0;
}

} // namespace

uint32_t characterFlags(uint32_t point) {
  size_t low = 0, high = sizeof(kRuns) / sizeof(kRuns[0]);
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    if (kRuns[middle] >> 11 <= point)
      low = middle;
    else
      high = middle;
  }
  const uint32_t run = kRuns[low];
  const uint32_t flags = run & 0x3ff;
  const bool swaps = (run >> 10 & 1) && ((point - (run >> 11)) & 1);
  return swaps ? flags ^ (CharUpper | CharLower) : flags;
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
    count = map(kLowerRanges, kLowerExpansions, point, mapped);
  } else {
    if (to == Case::Title)
      count = map(kTitleRanges, kTitleExpansions, point, mapped);
    if (count == 0)
      count = map(kUpperRanges, kUpperExpansions, point, mapped);
  }
  return count ? count : 1;
}

uint32_t decodeCharacter(const char *at, const char *end, unsigned &length) {
  const uint8_t *const bytes = reinterpret_cast<const uint8_t *>(at);
  const size_t size = size_t(end - at);
  const auto tail = [&](size_t i) { return i < size && (bytes[i] & 0xc0) == 0x80; };
  length = 1;
  if (bytes[0] < 0x80)
    return bytes[0];
  if (bytes[0] >= 0xc2 && bytes[0] < 0xe0 && tail(1)) {
    length = 2;
    return (bytes[0] & 31u) << 6 | (bytes[1] & 63u);
  }
  if (bytes[0] >= 0xe0 && bytes[0] < 0xf0 && tail(1) && tail(2)) {
    const uint32_t point = (bytes[0] & 15u) << 12 | (bytes[1] & 63u) << 6 | (bytes[2] & 63u);
    if (point >= 0x800 && (point < 0xd800 || point >= 0xe000)) {
      length = 3;
      return point;
    }
  }
  if (bytes[0] >= 0xf0 && bytes[0] < 0xf5 && tail(1) && tail(2) && tail(3)) {
    const uint32_t point = (bytes[0] & 7u) << 18 | (bytes[1] & 63u) << 12 | (bytes[2] & 63u) << 6 | (bytes[3] & 63u);
    if (point >= 0x10000 && point < 0x110000) {
      length = 4;
      return point;
    }
  }
  return 0xfffd;
}

unsigned encodeCharacter(uint32_t point, char bytes[4]) {
  if (point < 0x80) {
    bytes[0] = char(point);
    return 1;
  }
  if (point < 0x800) {
    bytes[0] = char(0xc0 | point >> 6);
    bytes[1] = char(0x80 | (point & 63));
    return 2;
  }
  if (point < 0x10000) {
    bytes[0] = char(0xe0 | point >> 12);
    bytes[1] = char(0x80 | (point >> 6 & 63));
    bytes[2] = char(0x80 | (point & 63));
    return 3;
  }
  bytes[0] = char(0xf0 | point >> 18);
  bytes[1] = char(0x80 | (point >> 12 & 63));
  bytes[2] = char(0x80 | (point >> 6 & 63));
  bytes[3] = char(0x80 | (point & 63));
  return 4;
}

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

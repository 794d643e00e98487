//===- Normalizer.cpp - Rewrites text before it is split into tokens ---------===//
#include "runtime/text/unicode/Normalizer.h"

#include <string.h>

namespace edgecc::text {

static_assert(sizeof(NormalizerStep) == 16 && sizeof(CompositionPair) == 12, "the layout is the same on every platform");

namespace {

/// The rest of a step's data while its parts are read.
struct Reader {
  const char *at;
  size_t left;

  /// Returns the next `size` bytes, padded to 4, or null if there are fewer.
  const char *take(uint64_t size) {
    const uint64_t padded = (size + 3) / 4 * 4;
    if (padded > left)
      return nullptr;
    const char *const result = at;
    at += padded;
    left -= padded;
    return result;
  }
  bool takeWord(uint32_t &word) {
    const char *const from = take(sizeof(word));
    if (from)
      memcpy(&word, from, sizeof(word));
    return from != nullptr;
  }
};

/// Values of characters: 0 for most.
struct CodeTable {
  const uint16_t *planes = nullptr, *middle = nullptr, *leaves = nullptr;
  uint32_t middleCount = 0, leafCount = 0;

  bool read(Reader &from) {
    if (!from.takeWord(middleCount) || !from.takeWord(leafCount))
      return false;
    planes = reinterpret_cast<const uint16_t *>(from.take(2 * kPlaneCount));
    middle = reinterpret_cast<const uint16_t *>(from.take(uint64_t(middleCount) * 128));
    leaves = reinterpret_cast<const uint16_t *>(from.take(uint64_t(leafCount) * 128));
    return planes && middle && leaves;
  }
  bool verify(uint32_t highest) const {
    for (size_t i = 0; i < kPlaneCount; ++i)
      if (planes[i] >= middleCount)
        return false;
    for (size_t i = 0; i < size_t(middleCount) * 64; ++i)
      if (middle[i] >= leafCount)
        return false;
    for (size_t i = 0; i < size_t(leafCount) * 64; ++i)
      if (leaves[i] > highest)
        return false;
    return true;
  }
  uint32_t operator[](uint32_t code) const {
    return leaves[middle[planes[code >> 12] * 64u + (code >> 6 & 63)] * 64u + (code & 63)];
  }
};

/// Replacements of characters: value 0 keeps one, value n is entry n - 1.
struct CharacterMap {
  CodeTable values;
  const uint32_t *entries = nullptr;
  const char *strings = nullptr;
  uint32_t count = 0, stringsSize = 0;

  bool read(Reader &from) {
    if (!values.read(from) || !from.takeWord(count) || !from.takeWord(stringsSize))
      return false;
    entries = reinterpret_cast<const uint32_t *>(from.take(uint64_t(count) * 4));
    strings = from.take(stringsSize);
    return entries && strings;
  }
  bool verify() const {
    for (uint32_t i = 0; i < count; ++i)
      if (entries[i] >> 8 > stringsSize || (entries[i] & 255) > stringsSize - (entries[i] >> 8))
        return false;
    return values.verify(count);
  }
  bool find(uint32_t code, std::string_view &replacement) const {
    const uint32_t value = values[code];
    if (value == 0)
      return false;
    replacement = {strings + (entries[value - 1] >> 8), entries[value - 1] & 255};
    return true;
  }
};

struct CanonicalTables {
  CodeTable orders;
  CharacterMap decompositions;
  const CompositionPair *pairs = nullptr;

  bool read(Reader &from, uint32_t pairCount) {
    if (!orders.read(from) || !decompositions.read(from))
      return false;
    pairs = reinterpret_cast<const CompositionPair *>(from.take(uint64_t(pairCount) * sizeof(CompositionPair)));
    return pairs != nullptr;
  }
};

struct PrecompiledMap {
  Automaton clusters;
  const uint32_t *units = nullptr;
  uint32_t unitCount = 0;
  std::string_view strings;

  /// Reads the parts. The automaton is checked when the normalizer is opened.
  const char *read(Reader &from, bool isChecked) {
    uint32_t automatonSize = 0;
    if (!from.takeWord(automatonSize) || !from.takeWord(unitCount) || unitCount == 0)
      return "a character map has no valid size";
    const char *const automaton = from.take(automatonSize);
    units = reinterpret_cast<const uint32_t *>(from.take(uint64_t(unitCount) * 4));
    if (!automaton || !units)
      return "a character map does not fit its size";
    strings = {from.at, from.left};
    if (!isChecked)
      return clusters.open(automaton, automatonSize);
    clusters.openChecked(automaton);
    return nullptr;
  }
  /// Finds the replacement of the shortest start of `text` that the map has; it stands for the whole text (Darts' double array).
  bool find(std::string_view text, std::string_view &replacement) const {
    const auto offsetOf = [](uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); };
    uint32_t at = offsetOf(units[0]);
    for (char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      at ^= byte;
      if (byte == 0 || at >= unitCount || (units[at] & (1u << 31 | 255u)) != byte)
        return false;
      const uint32_t unit = units[at];
      at ^= offsetOf(unit);
      if (unit >> 8 & 1) {
        const uint32_t begin = at < unitCount ? units[at] & ~(1u << 31) : UINT32_MAX;
        if (begin > strings.size())
          return false;
        uint32_t end = begin;
        while (end < strings.size() && strings[end] != 0)
          ++end;
        replacement = {strings.data() + begin, end - begin};
        return true;
      }
    }
    return false;
  }
};

bool readText(Reader &from, std::string_view &text) {
  uint32_t length = 0;
  if (!from.takeWord(length))
    return false;
  const char *const data = from.take(length);
  text = {data, length};
  return data != nullptr;
}

const char *verifyStep(const NormalizerStep &step, Reader from) {
  switch (static_cast<StepKind>(step.kind)) {
  case StepKind::Map: {
    CharacterMap map;
    return map.read(from) && map.verify() ? nullptr : "a map of characters is not valid";
  }
  case StepKind::Canonical: {
    CanonicalTables tables;
    if (!tables.read(from, step.argument) || !tables.orders.verify(kCombinesBackward) || !tables.decompositions.verify())
      return "the tables of a Unicode normalization are not valid";
    for (uint32_t i = 0; i < step.argument; ++i)
      if (tables.pairs[i].composed > 0x10FFFF)
        return "a Unicode normalization composes an invalid character";
    return nullptr;
  }
  case StepKind::Replace: {
    std::string_view content;
    Automaton automaton;
    return readText(from, content) ? automaton.open(from.at, from.left) : "a replacement is cut short";
  }
  case StepKind::Prepend: {
    std::string_view content;
    return readText(from, content) ? nullptr : "a prefix is cut short";
  }
  case StepKind::Strip: {
    Automaton automaton;
    return automaton.open(from.at, from.left);
  }
  case StepKind::Precompiled: {
    PrecompiledMap map;
    return map.read(from, false);
  }
  }
  return "a normalizer has an unknown step: compile the model again";
}

/// Collects what a step writes.
struct Output {
  Buffer<char> &text;
  Buffer<uint32_t> *origins;

  void put(std::string_view piece, size_t origin) {
    append(text, piece);
    if (origins)
      for (size_t i = 0; i < piece.size(); ++i)
        origins->push(static_cast<uint32_t>(origin));
  }
  void put(uint32_t code, size_t origin) {
    char encoded[4];
    put({encoded, encodeUtf8(code, encoded)}, origin);
  }
  /// Copies text[begin, end): each byte comes from itself.
  void copy(std::string_view from, size_t begin, size_t end) {
    text.append(from.data() + begin, end - begin);
    if (origins)
      for (size_t i = begin; i < end; ++i)
        origins->push(static_cast<uint32_t>(i));
  }
};

void runMap(const CharacterMap &map, std::string_view text, Output &out) {
  size_t kept = 0;
  for (size_t at = 0; at < text.size();) {
    const Character character = decodeUtf8(text.data() + at, text.size() - at);
    std::string_view replacement;
    if (map.find(character.code, replacement)) {
      out.copy(text, kept, at);
      for (size_t i = 0; i < replacement.size(); ++i) {
        if (replacement[i] == kItself)
          out.copy(text, at, at + character.length);
        else
          out.put({replacement.data() + i, 1}, at);
      }
      kept = at + character.length;
    }
    at += character.length;
  }
  out.copy(text, kept, text.size());
}

constexpr uint32_t kSyllables = 0xAC00, kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11A7;
constexpr uint32_t kLeadCount = 19, kVowelCount = 21, kTailCount = 28, kSyllableCount = kLeadCount * kVowelCount * kTailCount;

/// Decomposes, orders and composes a text (Unicode Standard Annex 15). A segment is a starter with all that may combine with it.
class Canonical {
public:
  Canonical(const CanonicalTables &tables, uint32_t pairCount, NormalizerScratch &scratch, Output &out)
      : tables(tables), pairCount(pairCount), segment(scratch.segment), sorted(scratch.sorted), out(out) {}

  bool run(std::string_view text) {
    segment.clear();
    for (size_t at = 0; at < text.size();) {
      // ASCII never changes, unless what follows combines with it.
      size_t end = at;
      while (end < text.size() && static_cast<unsigned char>(text[end]) < 0x80)
        ++end;
      if (end < text.size() && end > at)
        --end;
      if (end > at) {
        flush();
        out.copy(text, at, end);
        at = end;
        continue;
      }
      const Character character = decodeUtf8(text.data() + at, text.size() - at);
      decompose(character.code, static_cast<uint32_t>(at));
      at += character.length;
    }
    flush();
    return !segment.failed() && !sorted.failed();
  }

private:
  void decompose(uint32_t code, uint32_t origin) {
    std::string_view replacement;
    if (code - kSyllables < kSyllableCount) {
      const uint32_t index = code - kSyllables;
      add(kLeads + index / (kVowelCount * kTailCount), origin);
      add(kVowels + index / kTailCount % kVowelCount, origin);
      if (index % kTailCount)
        add(kTails + index % kTailCount, origin);
    } else if (tables.decompositions.find(code, replacement)) {
      for (size_t at = 0; at < replacement.size();) {
        const Character part = decodeUtf8(replacement.data() + at, replacement.size() - at);
        add(part.code, origin);
        at += part.length;
      }
    } else {
      add(code, origin);
    }
  }

  void add(uint32_t code, uint32_t origin) {
    if (tables.orders[code] == 0)
      flush();
    segment.push(uint64_t(code) << 32 | origin);
  }

  uint32_t orderOf(uint64_t element) const {
    const uint32_t order = tables.orders[static_cast<uint32_t>(element >> 32)];
    return order == kCombinesBackward ? 0 : order;
  }

  /// Sorts segment[begin, end) by the combining class, stably and in linear time.
  void sort(size_t begin, size_t end) {
    bool isSorted = true;
    for (size_t i = begin + 1; i < end && isSorted; ++i)
      isSorted = orderOf(segment[i - 1]) <= orderOf(segment[i]);
    if (isSorted || !sorted.resize(end - begin))
      return;
    uint32_t starts[257] = {};
    for (size_t i = begin; i < end; ++i)
      ++starts[orderOf(segment[i]) + 1];
    for (size_t order = 0; order < 256; ++order)
      starts[order + 1] += starts[order];
    for (size_t i = begin; i < end; ++i)
      sorted[starts[orderOf(segment[i])]++] = segment[i];
    memcpy(segment.data() + begin, sorted.data(), (end - begin) * sizeof(uint64_t));
  }

  bool findPair(uint32_t first, uint32_t second, uint32_t &composed) const {
    if (first - kLeads < kLeadCount && second - kVowels < kVowelCount) {
      composed = kSyllables + ((first - kLeads) * kVowelCount + second - kVowels) * kTailCount;
      return true;
    }
    if (first - kSyllables < kSyllableCount && (first - kSyllables) % kTailCount == 0 && second - kTails - 1 < kTailCount - 1) {
      composed = first + second - kTails;
      return true;
    }
    uint32_t low = 0, high = pairCount;
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      const CompositionPair &pair = tables.pairs[middle];
      if (pair.first < first || (pair.first == first && pair.second < second))
        low = middle + 1;
      else
        high = middle;
    }
    if (low == pairCount || tables.pairs[low].first != first || tables.pairs[low].second != second)
      return false;
    composed = tables.pairs[low].composed;
    return true;
  }

  void compose() {
    size_t starter = SIZE_MAX, kept = 0;
    uint32_t lastOrder = 0;
    for (size_t i = 0; i < segment.size(); ++i) {
      const uint64_t element = segment[i];
      const uint32_t order = orderOf(element);
      uint32_t composed;
      // A character is blocked from the starter by one between them of its own class or of a higher one.
      const bool isBlocked = starter == SIZE_MAX || (kept > starter + 1 && lastOrder >= order);
      if (!isBlocked && findPair(uint32_t(segment[starter] >> 32), uint32_t(element >> 32), composed)) {
        segment[starter] = uint64_t(composed) << 32 | uint32_t(segment[starter]);
        continue;
      }
      if (order == 0)
        starter = kept;
      lastOrder = order;
      segment[kept++] = element;
    }
    segment.truncate(kept);
  }

  void flush() {
    for (size_t begin = 0; begin < segment.size();) {
      size_t end = begin;
      while (end < segment.size() && orderOf(segment[end]) != 0)
        ++end;
      if (end > begin)
        sort(begin, end);
      begin = end + 1;
    }
    if (pairCount)
      compose();
    for (uint64_t element : segment)
      out.put(uint32_t(element >> 32), uint32_t(element));
    segment.clear();
  }

  const CanonicalTables &tables;
  const uint32_t pairCount;
  Buffer<uint64_t> &segment, &sorted;
  Output &out;
};

void runReplace(const Automaton &automaton, std::string_view content, std::string_view text, Output &out) {
  size_t kept = 0;
  Matches matches(automaton, text);
  for (size_t begin, end; matches.next(begin, end);) {
    out.copy(text, kept, begin);
    out.put(content, begin < text.size() || begin == 0 ? begin : begin - 1);
    kept = end;
  }
  out.copy(text, kept, text.size());
}

void runStrip(const Automaton &automaton, uint32_t sides, std::string_view text, Output &out) {
  size_t begin = 0, end = text.size();
  while ((sides & 1) && begin < end) {
    const Character character = decodeUtf8(text.data() + begin, end - begin);
    if (!automaton.matches(character.code))
      break;
    begin += character.length;
  }
  while ((sides & 2) && begin < end) {
    const size_t last = previousCharacter(text.data(), end);
    if (!automaton.matches(decodeUtf8(text.data() + last, end - last).code))
      break;
    end = last;
  }
  out.copy(text, begin, end);
}

/// Returns whether a grapheme cluster ends between two characters of these ranges: each is of the class "Other".
bool isPlain(uint32_t code) {
  return code - 0x20 < 0x5F || code - 0x4E00 < 0x5200 || code - 0x3001 < 0x29 || code - 0xFF01 < 0x5E;
}

void runPrecompiled(const PrecompiledMap &map, std::string_view text, Output &out) {
  constexpr size_t kLongestCluster = 5; // HF looks up whole clusters of fewer than 6 bytes only
  size_t kept = 0;                      // from here to `at` nothing changes
  for (size_t at = 0; at < text.size();) {
    const Character first = decodeUtf8(text.data() + at, text.size() - at);
    const size_t after = at + first.length;
    if (isPlain(first.code) && after < text.size() && isPlain(decodeUtf8(text.data() + after, text.size() - after).code)) {
      std::string_view replacement;
      if (map.find({text.data() + at, first.length}, replacement)) {
        out.copy(text, kept, at);
        out.put(replacement, at);
        kept = after;
      }
      at = after;
      continue;
    }
    out.copy(text, kept, at);
    size_t end = map.clusters.matchAt(text, at);
    if (end == Automaton::kNoMatch || end <= at)
      end = at + decodeUtf8(text.data() + at, text.size() - at).length;
    std::string_view replacement;
    if (end - at <= kLongestCluster && map.find({text.data() + at, end - at}, replacement)) {
      out.put(replacement, at);
      kept = at = end;
      continue;
    }
    while (at < end) {
      const size_t length = decodeUtf8(text.data() + at, text.size() - at).length;
      if (map.find({text.data() + at, length}, replacement))
        out.put(replacement, at);
      else
        out.copy(text, at, at + length);
      at += length;
    }
    kept = end;
  }
  out.copy(text, kept, text.size());
}

bool runStep(const NormalizerStep &step, Reader from, std::string_view text, NormalizerScratch &scratch, Output &out) {
  switch (static_cast<StepKind>(step.kind)) {
  case StepKind::Map: {
    CharacterMap map;
    map.read(from);
    runMap(map, text, out);
    return true;
  }
  case StepKind::Canonical: {
    CanonicalTables tables;
    tables.read(from, step.argument);
    return Canonical(tables, step.argument, scratch, out).run(text);
  }
  case StepKind::Replace: {
    std::string_view content;
    Automaton automaton;
    readText(from, content);
    automaton.openChecked(from.at);
    runReplace(automaton, content, text, out);
    return true;
  }
  case StepKind::Prepend: {
    std::string_view content;
    readText(from, content);
    if (!text.empty())
      out.put(content, 0);
    out.copy(text, 0, text.size());
    return true;
  }
  case StepKind::Strip: {
    Automaton automaton;
    automaton.openChecked(from.at);
    runStrip(automaton, step.argument, text, out);
    return true;
  }
  case StepKind::Precompiled: {
    PrecompiledMap map;
    map.read(from, true);
    runPrecompiled(map, text, out);
    return true;
  }
  }
  return true;
}

NormalizerStep stepAt(const char *bytes, uint32_t index) {
  NormalizerStep step;
  memcpy(&step, bytes + sizeof(NormalizerHeader) + index * sizeof(step), sizeof(step));
  return step;
}

uint32_t stepCountOf(const char *bytes) {
  NormalizerHeader header;
  memcpy(&header, bytes, sizeof(header));
  return header.stepCount;
}

} // namespace

// Contract: after open() returns null, no step and no text leads outside of the tables.
const char *Normalizer::open(const void *data, size_t size) {
  bytes = nullptr;
  const auto *const newBytes = static_cast<const char *>(data);
  if (size < sizeof(NormalizerHeader) || size > UINT32_MAX || reinterpret_cast<uintptr_t>(data) % alignof(uint32_t) != 0)
    return "a normalizer has no valid size or alignment";
  if (memcmp(newBytes, kNormalizerMagic, sizeof(kNormalizerMagic)) != 0)
    return "a normalizer has another format: compile the model again";
  const uint32_t count = stepCountOf(newBytes);
  if (count > kMaxNormalizerSteps || count > (size - sizeof(NormalizerHeader)) / sizeof(NormalizerStep))
    return "a normalizer has too many steps";
  for (uint32_t i = 0; i < count; ++i) {
    const NormalizerStep step = stepAt(newBytes, i);
    if (step.offset % 4 != 0 || step.offset > size || step.size > size - step.offset)
      return "a step lies outside of its normalizer";
    if (const char *problem = verifyStep(step, {newBytes + step.offset, step.size}))
      return problem;
  }
  bytes = newBytes;
  return nullptr;
}

bool Normalizer::run(std::string_view text, NormalizerScratch &scratch, Buffer<char> &out, Buffer<uint32_t> *origins) const {
  const uint32_t count = bytes ? stepCountOf(bytes) : 0;
  out.clear();
  if (origins)
    origins->clear();
  if (count == 0)
    Output{out, origins}.copy(text, 0, text.size());
  for (uint32_t i = 0; i < count; ++i) {
    const NormalizerStep step = stepAt(bytes, i);
    const bool isLast = i + 1 == count;
    Buffer<char> &newText = isLast ? out : scratch.text[i % 2];
    Buffer<uint32_t> *const newOrigins = !origins ? nullptr : isLast ? origins : &scratch.origins[i % 2];
    newText.clear();
    if (newOrigins)
      newOrigins->clear();
    Output output{newText, newOrigins};
    if (!runStep(step, {bytes + step.offset, step.size}, text, scratch, output) || newText.failed() ||
        (newOrigins && newOrigins->failed()))
      return false;
    if (newOrigins && i > 0) {
      const Buffer<uint32_t> &before = scratch.origins[(i - 1) % 2];
      for (uint32_t &origin : *newOrigins)
        origin = origin < before.size() ? before[origin] : 0;
    }
    text = view(newText);
  }
  return !out.failed();
}

} // namespace edgecc::text

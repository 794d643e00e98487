//===- Automaton.cpp - Finds what a compiled pattern matches -----------------===//
#include "runtime/text/unicode/Automaton.h"

#include <string.h>

namespace edgecc::text {

static_assert(sizeof(AutomatonHeader) == 16, "the layout is the same on every platform");

// Contract: after open() returns null, no code and no text leads outside of the tables.
const char *Automaton::open(const void *data, size_t size) {
  transitions = nullptr;
  AutomatonHeader header;
  if (size < sizeof(header) || size > kMaxAutomatonBytes)
    return "an automaton has no valid size";
  if (reinterpret_cast<uintptr_t>(data) % alignof(uint32_t) != 0)
    return "an automaton is not aligned";
  memcpy(&header, data, sizeof(header));
  if (memcmp(header.magic, kAutomatonMagic, sizeof(kAutomatonMagic)) != 0)
    return "an automaton has another format: compile the model again";
  if (header.classCount == 0 || header.classCount > 255 || header.stateCount == 0 || header.stateCount > size ||
      header.middleCount == 0 || header.leafCount == 0 || header.flags > kAutomatonLooksBehind)
    return "an automaton has an invalid header";
  const size_t stride = header.classCount + 1u;
  const uint64_t transitionCount = uint64_t(header.stateCount) * stride;
  const uint64_t needed = sizeof(header) + 4 * stride + 4 * transitionCount + 2 * kPlaneCount + 128u * header.middleCount + 128 +
                          64u * header.leafCount;
  if (needed != size)
    return "an automaton has another size than its header says";

  openChecked(data);
  const uint32_t *const newTransitions = transitions;
  transitions = nullptr;
  for (size_t i = 0; i < stride; ++i)
    if (starts[i] >= transitionCount || starts[i] % stride != 0)
      return "an automaton starts in a state that it does not have";
  for (size_t i = 0; i < transitionCount; ++i)
    if ((newTransitions[i] & ~kMatchBit) >= transitionCount || newTransitions[i] % kMatchBit % stride != 0)
      return "an automaton goes to a state that it does not have";
  for (size_t i = 0; i < kPlaneCount; ++i)
    if (planes[i] >= header.middleCount)
      return "an automaton has an invalid table of planes";
  for (size_t i = 0; i < 64u * header.middleCount; ++i)
    if (middle[i] >= header.leafCount)
      return "an automaton has an invalid table of blocks";
  for (size_t i = 0; i < 128 + 64u * header.leafCount; ++i)
    if (ascii[i] >= header.classCount)
      return "an automaton has an invalid class of characters";
  transitions = newTransitions;
  return nullptr;
}

void Automaton::openChecked(const void *data) {
  AutomatonHeader header;
  memcpy(&header, data, sizeof(header));
  const size_t stride = header.classCount + 1u;
  starts = reinterpret_cast<const uint32_t *>(static_cast<const char *>(data) + sizeof(header));
  transitions = starts + stride;
  planes = reinterpret_cast<const uint16_t *>(transitions + size_t(header.stateCount) * stride);
  middle = planes + kPlaneCount;
  ascii = reinterpret_cast<const uint8_t *>(middle + 64u * header.middleCount);
  leaves = ascii + 128;
  classCount = header.classCount;
  looksBehind = header.flags & kAutomatonLooksBehind;
}

size_t Automaton::matchAt(std::string_view text, size_t from) const {
  const char *const first = text.data(), *const last = first + text.size();
  const char *at = first + from;
  uint32_t before = classCount;
  if (looksBehind && from > 0)
    before = classOf(decodeUtf8(first + previousCharacter(first, from), from - previousCharacter(first, from)).code);
  uint32_t state = starts[before];
  size_t end = kNoMatch;
  while (at != last) {
    const auto byte = static_cast<unsigned char>(*at);
    const char *const here = at;
    uint32_t kind;
    if (byte < 0x80) {
      kind = ascii[byte];
      ++at;
    } else {
      const Character character = decodeUtf8(at, static_cast<size_t>(last - at));
      kind = classOf(character.code);
      at += character.length;
    }
    const uint32_t next = transitions[state + kind];
    if (next & kMatchBit)
      end = static_cast<size_t>(here - first);
    state = next & ~kMatchBit;
    if (state == 0)
      return end;
  }
  return transitions[state + classCount] & kMatchBit ? text.size() : end;
}

bool Automaton::find(std::string_view text, size_t from, size_t &begin, size_t &end) const {
  while (from <= text.size()) {
    // Most characters begin no match, and the start state says so.
    while (!looksBehind && from < text.size()) {
      const auto byte = static_cast<unsigned char>(text[from]);
      const Character character = decodeUtf8(text.data() + from, text.size() - from);
      if (transitions[starts[classCount] + (byte < 0x80 ? ascii[byte] : classOf(character.code))] != 0)
        break;
      from += character.length;
    }
    const size_t match = matchAt(text, from);
    if (match != kNoMatch) {
      begin = from;
      end = match;
      return true;
    }
    if (from == text.size())
      return false;
    from += decodeUtf8(text.data() + from, text.size() - from).length;
  }
  return false;
}

bool Automaton::matches(uint32_t code) const {
  const uint32_t state = transitions[starts[classCount] + classOf(code)] & ~kMatchBit;
  return transitions[state + classCount] & kMatchBit;
}

bool Matches::next(size_t &begin, size_t &end) {
  for (;;) {
    if (position > text.size() || !automaton.find(text, position, begin, end))
      return false;
    position = end;
    if (begin == end) {
      position += end < text.size() ? decodeUtf8(text.data() + end, text.size() - end).length : 1;
      if (end == lastEnd)
        continue;
    }
    lastEnd = end;
    return true;
  }
}

} // namespace edgecc::text

//===- Stops.cpp - Ends a text at a string ------------------------------------===//
#include "runtime/text/chat/Stops.h"

namespace edgecc::text {

bool Stops::add(std::string_view stop) { return append(bytes, stop) && ends.push(uint32_t(bytes.size())); }

void Stops::clear() {
  bytes.clear();
  ends.clear();
  held.clear();
}

std::string_view Stops::stop(size_t index) const {
  const size_t begin = index ? ends[index - 1] : 0;
  return {bytes.data() + begin, ends[index] - begin};
}

bool Stops::feed(std::string_view text, Buffer<char> &out) {
  append(held, text);
  // The leftmost place where a stop string begins, whole or cut by the end.
  for (size_t begin = 0; begin < held.size(); ++begin) {
    const size_t left = held.size() - begin;
    bool mayStart = false;
    for (size_t i = 0; i < ends.size(); ++i) {
      const std::string_view stop = this->stop(i);
      const size_t common = stop.size() < left ? stop.size() : left;
      if (memcmp(held.data() + begin, stop.data(), common) != 0)
        continue;
      if (common == stop.size()) {
        out.append(held.data(), begin);
        held.clear();
        return true;
      }
      mayStart = true;
    }
    if (mayStart) {
      out.append(held.data(), begin);
      memmove(held.data(), held.data() + begin, left);
      held.truncate(left);
      return false;
    }
  }
  finish(out);
  return false;
}

void Stops::finish(Buffer<char> &out) {
  out.append(held.data(), held.size());
  held.clear();
}

} // namespace edgecc::text

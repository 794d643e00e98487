//===- Stops.h - Ends a text at a string, and holds back no more than needed --===//
#ifndef EDGECC_RUNTIME_TEXT_CHAT_STOPS_H
#define EDGECC_RUNTIME_TEXT_CHAT_STOPS_H

#include "runtime/text/Buffer.h"

namespace edgecc::text {

/// Watches streamed text for stop strings. A suffix is held back only while it can still become one.
class Stops {
public:
  /// Adds a stop string, which must not be empty. Returns false when memory ran out.
  bool add(std::string_view stop);
  void clear();

  /// Takes `text` and appends to `out` what is certain. Returns true at the first stop string; it and what follows is dropped.
  bool feed(std::string_view text, Buffer<char> &out);
  /// Appends what is held back.
  void finish(Buffer<char> &out);

private:
  std::string_view stop(size_t index) const;

  Buffer<char> bytes;    ///< all stop strings
  Buffer<uint32_t> ends; ///< where each ends in `bytes`
  Buffer<char> held;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_CHAT_STOPS_H

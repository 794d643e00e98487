//===- AnswerStream.h - Text and calls of tools in a streamed answer ----------===//
//
// Models write calls of tools into their answers, in the notation of their template and often with special tokens. A caller wants
// the text as it comes, but not half a call: from where a call may begin everything is held back until the answer ends.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_CHAT_ANSWERSTREAM_H
#define EDGECC_RUNTIME_TEXT_CHAT_ANSWERSTREAM_H

#include "runtime/text/chat/Stops.h"
#include "runtime/text/templates/ToolCalls.h"
#include "runtime/text/tokenizer/Decoder.h"

namespace edgecc::text {

class AnswerStream {
public:
  /// With ToolNotation::None everything is text.
  AnswerStream(const CompiledTokenizer &tokenizer, ToolNotation notation);

  /// Takes a token and appends the text that is certain. Returns false when memory ran out.
  bool feed(uint32_t id, Buffer<char> &text);
  /// Ends the answer: appends the rest of the text and finds the calls. Arguments lie in `values`, names in this stream.
  bool finish(Values &values, ToolCalls &calls, Buffer<char> &text);

  /// The answer with the bytes of its special tokens, as a template writes them. Empty for ToolNotation::None.
  std::string_view source() const { return view(raw); }

private:
  bool watch(Buffer<char> &text);

  const ToolNotation notation;
  Decoder plain, whole; ///< without special tokens, and with them
  Stops openers;
  Buffer<char> raw;     ///< what `whole` decoded
  Buffer<char> pending; ///< what `plain` decoded and may be a part of a call
  size_t watched = 0;   ///< bytes of `raw` that were given to `openers`
  size_t certain = 0;   ///< bytes of `raw` in which no call begins
  size_t shown = 0;     ///< bytes of `raw` whose text was handed over
  bool mayCall = false; ///< a call may have begun at `certain`
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_CHAT_ANSWERSTREAM_H

//===- AnswerStream.cpp - Text and calls of tools in a streamed answer --------===//
#include "runtime/text/chat/AnswerStream.h"

#include "runtime/text/templates/Json.h"

namespace edgecc::text {

AnswerStream::AnswerStream(const CompiledTokenizer &tokenizer, ToolNotation notation)
    : notation(notation), plain(tokenizer), whole(tokenizer, /*skipSpecial=*/false) {
  for (const char *const *opener = toolCallOpeners(notation); *opener; ++opener)
    openers.add(*opener);
  // Its answers are nothing but calls; that of `all` is the text.
  mayCall = notation == ToolNotation::Functionary;
}

bool AnswerStream::feed(uint32_t id, Buffer<char> &text) {
  if (notation == ToolNotation::None)
    return plain.feed(id, text);
  return plain.feed(id, pending) && whole.feed(id, raw) && watch(text);
}

bool AnswerStream::watch(Buffer<char> &text) {
  if (mayCall)
    return true;
  // Llama's calls are bare JSON, at the start only.
  size_t first = 0;
  while (notation == ToolNotation::Llama && certain == 0 && first < raw.size() && isJsonBlank(raw[first]))
    ++first;
  if (notation == ToolNotation::Llama && certain == 0 && (first == raw.size() || raw[first] == '{')) {
    mayCall = first < raw.size();
    return true;
  }
  Buffer<char> safe;
  mayCall = openers.feed({raw.data() + watched, raw.size() - watched}, safe);
  watched = raw.size();
  certain += safe.size();
  if (mayCall) {
    // Hand over the text before the call that was held back.
    const size_t prefix = certain - shown < pending.size() ? certain - shown : pending.size();
    text.append(pending.data(), prefix);
    if (prefix)
      memmove(pending.data(), pending.data() + prefix, pending.size() - prefix);
    pending.truncate(pending.size() - prefix);
  } else if (certain == raw.size()) {
    append(text, view(pending));
    pending.clear();
    shown = certain;
  }
  return !text.failed() && !safe.failed();
}

bool AnswerStream::finish(Values &values, ToolCalls &calls, Buffer<char> &text) {
  calls.calls.clear();
  if (notation == ToolNotation::None)
    return plain.finish(text);
  if (!plain.finish(pending) || !whole.finish(raw))
    return false;
  if (mayCall) {
    if (!parseToolCalls(notation, view(raw), values, calls))
      return false;
    if (!calls.calls.empty())
      return append(text, {calls.text.data() + certain, calls.text.size() - certain});
  }
  // An answer to everybody is text.
  constexpr std::string_view kAll = "all\n";
  if (notation == ToolNotation::Functionary && pending.size() >= kAll.size() &&
      memcmp(pending.data(), kAll.data(), kAll.size()) == 0)
    return append(text, {pending.data() + kAll.size(), pending.size() - kAll.size()});
  return append(text, view(pending));
}

} // namespace edgecc::text

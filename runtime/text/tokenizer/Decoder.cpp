//===- Decoder.cpp - From ids to text, one id at a time ----------------------===//
#include "runtime/text/tokenizer/Decoder.h"

namespace edgecc::text {

constexpr std::string_view kReplacement = "\xef\xbf\xbd"; // U+FFFD
/// Longest text that one token becomes. A damaged file could make steps multiply it without end.
constexpr size_t kLongestPiece = size_t(1) << 20;
constexpr std::string_view kPieceSpace = "\xe2\x96\x81"; // U+2581

static bool startsWith(std::string_view text, std::string_view start) {
  return text.size() >= start.size() && (start.empty() || memcmp(text.data(), start.data(), start.size()) == 0);
}

/// Appends `text` with each `from` replaced by `to`.
static void appendReplaced(Buffer<char> &out, std::string_view text, std::string_view from, std::string_view to) {
  size_t done = 0;
  for (size_t at = 0; at + from.size() <= text.size();) {
    if (memcmp(text.data() + at, from.data(), from.size()) != 0) {
      ++at;
      continue;
    }
    append(out, {text.data() + done, at - done});
    append(out, to);
    done = at += from.size();
  }
  append(out, {text.data() + done, text.size() - done});
}

/// Removes blanks before punctuation, in the order of HF tokenizers' `cleanup`.
static void cleanUp(Buffer<char> &text) {
  const char *rule = " .\0.\0 ?\0?\0 !\0!\0 ,\0,\0 ' \0'\0 n't\0n't\0 'm\0'm\0 do not\0 don't\0 's\0's\0 've\0've\0 're\0're\0";
  while (*rule) {
    const std::string_view from = rule, to = rule + from.size() + 1;
    rule = to.data() + to.size() + 1;
    Buffer<char> cleaned;
    appendReplaced(cleaned, view(text), from, to);
    text = static_cast<Buffer<char> &&>(cleaned);
  }
}

/// Returns the value of a token `<0xXX>`, or -1.
static int byteOf(std::string_view token) {
  if (token.size() != 6 || !startsWith(token, "<0x") || token[5] != '>')
    return -1;
  int value = 0;
  for (const char digit : {token[3], token[4]}) {
    const int nibble = digit >= '0' && digit <= '9'   ? digit - '0'
                       : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                       : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                                      : -1;
    if (nibble < 0)
      return -1;
    value = value * 16 + nibble;
  }
  return value;
}

Decoder::Decoder(const CompiledTokenizer &tokenizer, bool skipSpecial)
    : tokenizer(tokenizer), skipSpecial(skipSpecial), steps(tokenizer.table<DecodeStep>(TokenizerTable::DecodeSteps)),
      data(tokenizer.table<char>(TokenizerTable::DecodeData)),
      stepCount(tokenizer.count<DecodeStep>(TokenizerTable::DecodeSteps)), fused(stepCount) {
  for (uint32_t i = stepCount; i-- > 0;)
    if (steps[i].kind == uint32_t(DecodeKind::Fuse) || steps[i].kind == uint32_t(DecodeKind::ByteLevel))
      fused = i;
}

void Decoder::resume() {
  for (uint32_t i = 0; i < stepCount; ++i)
    switch (DecodeKind(steps[i].kind)) {
    case DecodeKind::Metaspace:
    case DecodeKind::WordPiece:
    case DecodeKind::JoinBlanks:
    case DecodeKind::Strip: states[i].hasSeen = true; break;
    default: break;
    }
}

bool Decoder::feed(uint32_t id, Buffer<char> &text) {
  if (id >= tokenizer.size() || (skipSpecial && tokenizer.isSpecial(id)))
    return true;
  run(0, tokenizer.flagsOf(id) & kTokenUnknown ? " \xe2\x81\x87 " : tokenizer.bytesOf(id), text);
  return !text.failed();
}

bool Decoder::finish(Buffer<char> &text) {
  for (uint32_t i = 0; i < stepCount; ++i) {
    State &state = states[i];
    switch (DecodeKind(steps[i].kind)) {
    case DecodeKind::BpeSuffix:
      if (state.hasSeen) {
        Buffer<char> last;
        appendReplaced(last, view(state.text), textA(steps[i]), "");
        run(i + 1, view(last), text);
      }
      break;
    case DecodeKind::ByteFallback: flushBytes(i, text); break;
    case DecodeKind::Replace:
      if (i > fused)
        replaceText(i, {}, true, text);
      break;
    case DecodeKind::Strip:
      if (i > fused)
        stripText(i, {}, true, text);
      break;
    default: break;
    }
  }
  if (partialSize)
    append(text, kReplacement);
  partialSize = 0;
  bool isFailed = text.failed();
  for (State &state : states) {
    isFailed |= state.text.failed();
    state.text.clear();
    state.hasSeen = false;
    state.count = 0;
  }
  return !isFailed;
}

/// Puts a token, or a piece of the fused text, through the steps from `step` on.
void Decoder::run(uint32_t step, std::string_view token, Buffer<char> &out) {
  for (; step < stepCount; ++step) {
    const DecodeStep &description = steps[step];
    State &state = states[step];
    const bool isFirst = !state.hasSeen;
    switch (DecodeKind(description.kind)) {
    case DecodeKind::Fuse:
    case DecodeKind::ByteLevel: continue;
    case DecodeKind::Replace:
      if (step > fused)
        return replaceText(step, token, false, out);
      state.text.clear();
      appendReplaced(state.text, token, textA(description), textB(description));
      break;
    case DecodeKind::Strip:
      if (step > fused)
        return stripText(step, token, false, out);
      token = stripToken(description, token);
      continue;
    case DecodeKind::Metaspace: {
      state.text.clear();
      state.hasSeen = true;
      const std::string_view mark = textA(description);
      if (isFirst && description.countEnd > 0 && startsWith(token, mark)) {
        token.remove_prefix(mark.size());
        // SentencePiece: with remove_extra_whitespaces all blanks before the text go, else the first one.
        state.hasSeen = description.countEnd == 1 || !token.empty();
      }
      appendReplaced(state.text, token, mark, isFirst && description.count ? "" : " ");
      break;
    }
    case DecodeKind::WordPiece:
      state.text.clear();
      state.hasSeen = true;
      if (!isFirst && startsWith(token, textA(description)))
        token.remove_prefix(description.lengthA);
      else if (!isFirst)
        state.text.push(' ');
      append(state.text, token);
      if (description.count)
        cleanUp(state.text);
      break;
    case DecodeKind::BpeSuffix: {
      // Only the last token has no blank in place of its suffix, so each token waits for the next one.
      Buffer<char> before;
      if (state.hasSeen)
        appendReplaced(before, view(state.text), textA(description), " ");
      state.text.clear();
      append(state.text, token);
      if (!state.hasSeen) {
        state.hasSeen = true;
        return;
      }
      return run(step + 1, view(before), out);
    }
    case DecodeKind::ByteFallback: {
      const int byte = byteOf(token);
      if (byte >= 0) {
        state.text.push(char(byte));
        return;
      }
      flushBytes(step, out);
      continue;
    }
    case DecodeKind::Ctc: {
      if (!isFirst && view(state.text) == token)
        return;
      state.hasSeen = true;
      state.text.clear();
      append(state.text, token);
      Buffer<char> replaced;
      appendReplaced(replaced, token, textA(description), "");
      if (description.count) {
        cleanUp(replaced);
        Buffer<char> delimited;
        appendReplaced(delimited, view(replaced), textB(description), " ");
        replaced = static_cast<Buffer<char> &&>(delimited);
      }
      return replaced.empty() ? void() : run(step + 1, view(replaced), out);
    }
    case DecodeKind::JoinBlanks:
      state.text.clear();
      state.hasSeen = true;
      if (!isFirst)
        state.text.push(' ');
      append(state.text, token);
      break;
    }
    token = view(state.text);
    if (token.size() > kLongestPiece)
      return;
  }
  write(token, out);
}

/// Ends a run of byte tokens: valid UTF-8 is text; otherwise each byte becomes U+FFFD, or, as in SentencePiece, each invalid one.
void Decoder::flushBytes(uint32_t step, Buffer<char> &out) {
  Buffer<char> bytes = static_cast<Buffer<char> &&>(states[step].text);
  const bool byCharacter = steps[step].count;
  bool isValid = true;
  for (size_t at = 0; at < bytes.size() && isValid;) {
    const Character character = decodeUtf8(bytes.data() + at, bytes.size() - at);
    isValid = character.code != kReplacementCharacter || startsWith({bytes.data() + at, bytes.size() - at}, kReplacement);
    at += character.length;
  }
  if (isValid)
    return bytes.empty() ? void() : run(step + 1, view(bytes), out);
  for (size_t at = 0; at < bytes.size();) {
    const std::string_view rest(bytes.data() + at, bytes.size() - at);
    const Character character = decodeUtf8(rest.data(), rest.size());
    if (byCharacter && (character.code != kReplacementCharacter || startsWith(rest, kReplacement))) {
      run(step + 1, {rest.data(), character.length}, out);
      at += character.length;
    } else {
      run(step + 1, kReplacement, out);
      ++at;
    }
  }
}

/// Replaces A by B in a text that comes in pieces. What may be the start of A waits.
void Decoder::replaceText(uint32_t step, std::string_view piece, bool isLast, Buffer<char> &out) {
  const std::string_view from = textA(steps[step]);
  Buffer<char> held = static_cast<Buffer<char> &&>(states[step].text);
  append(held, piece);
  size_t done = 0, at = 0;
  Buffer<char> ready;
  while (at < held.size()) {
    const size_t left = held.size() - at, compared = left < from.size() ? left : from.size();
    if (memcmp(held.data() + at, from.data(), compared) != 0 || (compared < from.size() && isLast)) {
      ++at;
      continue;
    }
    if (compared < from.size())
      break;
    append(ready, {held.data() + done, at - done});
    append(ready, textB(steps[step]));
    done = at += from.size();
  }
  append(ready, {held.data() + done, at - done});
  append(states[step].text, {held.data() + at, held.size() - at});
  if (!ready.empty() && ready.size() <= kLongestPiece)
    run(step + 1, view(ready), out);
}

/// Strips A at the start and the end of a text that comes in pieces. What may be the end waits.
void Decoder::stripText(uint32_t step, std::string_view piece, bool isLast, Buffer<char> &out) {
  const std::string_view mark = textA(steps[step]);
  State &state = states[step];
  Buffer<char> held = static_cast<Buffer<char> &&>(state.text);
  append(held, piece);
  std::string_view text = view(held);
  while (!state.hasSeen && text.size() >= mark.size()) {
    state.hasSeen = state.count == steps[step].count || !startsWith(text, mark);
    if (!state.hasSeen) {
      ++state.count;
      text.remove_prefix(mark.size());
    }
  }
  const bool mayStrip = !state.hasSeen && !isLast && state.count < steps[step].count && startsWith(mark, text);
  size_t keep = text.size();
  for (uint32_t i = 0; i < steps[step].countEnd && keep >= mark.size(); ++i) {
    if (memcmp(text.data() + keep - mark.size(), mark.data(), mark.size()) != 0)
      break;
    keep -= mark.size();
  }
  if (mayStrip)
    keep = 0;
  if (!isLast)
    append(state.text, {text.data() + keep, text.size() - keep});
  if (keep > 0)
    run(step + 1, {text.data(), keep}, out);
}

std::string_view Decoder::stripToken(const DecodeStep &description, std::string_view token) const {
  const std::string_view mark = textA(description);
  for (uint32_t i = 0; i < description.count && startsWith(token, mark); ++i)
    token.remove_prefix(mark.size());
  for (uint32_t i = 0; i < description.countEnd && token.size() >= mark.size(); ++i) {
    if (memcmp(token.end() - mark.size(), mark.data(), mark.size()) != 0)
      break;
    token.remove_suffix(mark.size());
  }
  return token;
}

/// Writes whole characters. Bytes that cannot become one are U+FFFD; those that still can wait.
void Decoder::write(std::string_view piece, Buffer<char> &out) {
  size_t at = 0;
  while (partialSize && at < piece.size()) {
    char joined[8];
    memcpy(joined, partial, partialSize);
    const size_t taken = piece.size() - at < 4 ? piece.size() - at : 4;
    memcpy(joined + partialSize, piece.data() + at, taken);
    const size_t size = partialSize + taken;
    const Character character = decodeUtf8(joined, size);
    if (character.length < partialSize) { // cannot happen: a partial character is the start of a valid one
      partialSize = 0;
      break;
    }
    const bool isValid = character.code != kReplacementCharacter || startsWith({joined, size}, kReplacement);
    if (!isValid && character.length == size && size < 4) { // still not complete
      partial[partialSize++] = piece[at++];
      continue;
    }
    if (isValid)
      out.append(joined, character.length);
    else
      append(out, kReplacement);
    at += character.length - partialSize;
    partialSize = 0;
  }
  size_t done = at;
  while (at < piece.size()) {
    const Character character = decodeUtf8(piece.data() + at, piece.size() - at);
    const std::string_view rest(piece.data() + at, piece.size() - at);
    if (character.code != kReplacementCharacter || startsWith(rest, kReplacement)) {
      at += character.length;
      continue;
    }
    append(out, {piece.data() + done, at - done});
    const uint8_t lead = uint8_t(rest[0]);
    if (character.length == rest.size() && lead >= 0xC2 && lead < 0xF5) {
      memcpy(partial, rest.data(), rest.size());
      partialSize = uint32_t(rest.size());
      return;
    }
    append(out, kReplacement);
    done = at += character.length;
  }
  append(out, {piece.data() + done, piece.size() - done});
}

} // namespace edgecc::text

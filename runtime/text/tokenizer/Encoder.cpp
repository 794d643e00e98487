//===- Encoder.cpp - From text to ids ----------------------------------------===//
//
// The order is that of HF tokenizers: added tokens in the text as it is, then for each part between them the normalizer, added
// tokens in normalized text, pre-tokenizers, and the model for each piece that is left.
//
//===----------------------------------------------------------------------===//
#include "runtime/text/tokenizer/Tokenizer.h"

namespace edgecc::text {

constexpr uint32_t kCacheSize = 4096;
constexpr size_t kShortWord = 48;                        ///< symbols up to which merges are found by going through all pairs
constexpr std::string_view kPieceSpace = "\xe2\x96\x81"; // U+2581

/// Encodes one text. Nothing here trusts a table to be more than well placed.
class Encoder {
public:
  Encoder(const CompiledTokenizer &tokenizer, const Trust &trust, Scratch &scratch, Buffer<int32_t> &ids)
      : t(tokenizer), header(*tokenizer.header), trust(trust), scratch(scratch), ids(ids), model(TokenizerModel(header.model)) {}

  bool run(std::string_view text, const EncodeOptions &options);

private:
  bool has(TokenizerFlag flag) const { return header.flags & flag; }
  void push(uint32_t id) { ids.push(int32_t(id)); }
  bool allowed(uint32_t id) const { return isTrusted || !(t.flags[id] & kTokenSpecial); }
  static bool mayStart(const uint8_t (&first)[32], char byte) { return first[uint8_t(byte) / 8] >> (uint8_t(byte) % 8) & 1; }

  std::string_view makeValid(std::string_view text);
  bool isTrustedAt(size_t begin, size_t end) const;
  template <typename Check, typename Segment>
  void splitAtAdded(const Trie &trie, const uint8_t (&first)[32], std::string_view text, Check isTrustedPart, Segment segment);
  bool isKind(const Automaton &kind, std::string_view text, size_t at) const;
  void encodeSegment(std::string_view text, size_t base);
  void normalizePieces(std::string_view text);
  void preTokenize(uint32_t stage, std::string_view piece, bool isFirst);
  void split(uint32_t stage, std::string_view piece, bool isFirst);
  void metaspace(uint32_t stage, std::string_view piece, bool isFirst);
  void prefixSpace(uint32_t stage, std::string_view piece, bool isFirst);
  void mapBytes(uint32_t stage, std::string_view piece);
  void encodePiece(std::string_view piece);
  bool mayCut(std::string_view piece, size_t at) const;
  void encodeWord(std::string_view word);
  void runModel(std::string_view word);

  void bpe(std::string_view word);
  void pushSymbol(uint32_t id) { scratch.symbols.push({id, 0, 0, kNoToken, kNoToken}); }
  uint32_t firstSymbol(std::string_view word, size_t at, size_t length);
  void setPair(BpeSymbol &symbol, uint32_t right) const;
  void mergeShort();
  void mergeLong();
  void writeSymbol(uint32_t id);
  void unknownText(std::string_view text);

  void unigram(std::string_view word);
  void wordPiece(std::string_view word);
  void wordLevel(std::string_view word);

  const CompiledTokenizer &t;
  const TokenizerHeader &header;
  const Trust &trust;
  Scratch &scratch;
  Buffer<int32_t> &ids;
  const TokenizerModel model;
  const uint32_t *validOrigins = nullptr; ///< places in the caller's text, or null when they are the same
  bool isTrusted = false;                 ///< every byte of the segment is trusted
  bool isFailed = false;                  ///< memory ran out
  bool wasUnknown = false;                ///< the last id of the word is the unknown token
};

bool CompiledTokenizer::encode(std::string_view text, const Trust &trust, const EncodeOptions &options, Scratch &scratch,
                               Buffer<int32_t> &ids) const {
  return text.size() <= INT32_MAX && Encoder(*this, trust, scratch, ids).run(text, options);
}

bool Encoder::run(std::string_view text, const EncodeOptions &options) {
  if (scratch.cacheOwner != &header || scratch.cache.size() != kCacheSize) {
    scratch.cache.clear();
    if (!scratch.cache.resize(kCacheSize))
      return false;
    scratch.cacheOwner = &header;
  }
  if (options.addSpecial)
    for (uint32_t i = 0; i < t.count<uint32_t>(TokenizerTable::Before); ++i)
      push(t.table<uint32_t>(TokenizerTable::Before)[i]);

  const std::string_view valid = makeValid(text);
  splitAtAdded(t.addedRaw, header.addedFirst[0], valid, [this](size_t begin, size_t end) { return isTrustedAt(begin, end); },
               [&](size_t begin, size_t end) { encodeSegment({valid.data() + begin, end - begin}, begin); });

  if (options.addSpecial)
    for (uint32_t i = 0; i < t.count<uint32_t>(TokenizerTable::After); ++i)
      push(t.table<uint32_t>(TokenizerTable::After)[i]);
  return !isFailed && !ids.failed();
}

/// Replaces invalid UTF-8 by U+FFFD, as HF's callers do. Valid text is returned as it is.
std::string_view Encoder::makeValid(std::string_view text) {
  const char *const data = text.data();
  size_t at = 0;
  while (at < text.size()) {
    uint64_t eight;
    if (text.size() - at >= 8 && (memcpy(&eight, data + at, 8), (eight & 0x8080808080808080u) == 0)) {
      at += 8;
      continue;
    }
    const Character character = decodeUtf8(data + at, text.size() - at);
    if (character.code == kReplacementCharacter && (character.length != 3 || uint8_t(data[at]) != 0xEF))
      break;
    at += character.length;
  }
  if (at == text.size())
    return text;
  Buffer<char> &valid = scratch.valid;
  Buffer<uint32_t> &origins = scratch.validOrigins;
  valid.clear();
  origins.clear();
  for (at = 0; at < text.size();) {
    const Character character = decodeUtf8(data + at, text.size() - at);
    char encoded[4];
    const size_t length = encodeUtf8(character.code, encoded);
    valid.append(encoded, length);
    for (size_t i = 0; i < length; ++i)
      origins.push(uint32_t(at + (i < character.length ? i : character.length - 1)));
    at += character.length;
  }
  origins.push(uint32_t(text.size()));
  if (valid.failed() || origins.failed()) {
    isFailed = true;
    return {};
  }
  validOrigins = origins.data();
  return view(valid);
}

/// Returns whether the bytes [begin, end) of the valid text are trusted.
bool Encoder::isTrustedAt(size_t begin, size_t end) const {
  return validOrigins ? trust.covers(validOrigins[begin], validOrigins[end - 1] + 1) : trust.covers(begin, end);
}

/// Returns whether the character of `text` at `at` has a kind.
bool Encoder::isKind(const Automaton &kind, std::string_view text, size_t at) const {
  return kind.matches(decodeUtf8(text.data() + at, text.size() - at).code);
}

/// Writes the ids of added tokens and calls `segment` for what lies between them. The longest token at a place wins. One that
/// does not count here (untrusted, or a part of a word) still hides other tokens inside of it, as in HF tokenizers.
template <typename Check, typename Segment>
void Encoder::splitAtAdded(const Trie &trie, const uint8_t (&first)[32], std::string_view text, Check isTrustedPart,
                           Segment segment) {
  size_t done = 0;
  for (size_t at = trie.empty() ? text.size() : 0; at < text.size();) {
    size_t end = 0;
    const uint32_t found = mayStart(first, text[at]) ? trie.longest(text, at, end) : kNoToken;
    if (found >= t.addedCount) {
      ++at;
      continue;
    }
    size_t start = at, stop = end;
    at = end;
    const AddedToken &token = t.added[found];
    if (token.flags & kAddedSpecial && !isTrustedPart(start, stop))
      continue;
    if (token.flags & kAddedSingleWord && ((start > 0 && isKind(t.wordCharacters, text, previousCharacter(text.data(), start))) ||
                                           (stop < text.size() && isKind(t.wordCharacters, text, stop))))
      continue;
    if (token.flags & kAddedLeftStrip) {
      while (start > done && isKind(t.spaces, text, previousCharacter(text.data(), start)))
        start = previousCharacter(text.data(), start);
      start = start > done ? start : done;
    }
    if (token.flags & kAddedRightStrip)
      while (stop < text.size() && isKind(t.spaces, text, stop))
        stop += decodeUtf8(text.data() + stop, text.size() - stop).length;
    if (done < start)
      segment(done, start);
    push(token.id);
    done = stop;
  }
  if (done < text.size())
    segment(done, text.size());
}

/// Encodes a part of the text that has no added tokens of the first kind. It starts at `base` of the valid text.
void Encoder::encodeSegment(std::string_view text, size_t base) {
  isTrusted = isTrustedAt(base, base + text.size());
  const bool isFirst = base == 0;
  if (has(kPieceNormalizer)) {
    normalizePieces(text);
    return isFailed ? void() : encodePiece(view(scratch.normalized));
  }
  // Only a special token in text that is trusted in part needs to know where each byte comes from.
  const bool needsOrigins = !isTrusted && !t.addedNormalized.empty();
  std::string_view normalized = text;
  if (t.hasNormalizer) {
    scratch.normalized.clear();
    scratch.origins.clear();
    if (!t.normalizer.run(text, scratch.normalizer, scratch.normalized, needsOrigins ? &scratch.origins : nullptr)) {
      isFailed = true;
      return;
    }
    normalized = view(scratch.normalized);
  }
  const auto isTrustedPart = [&](size_t begin, size_t end) {
    if (isTrusted || !t.hasNormalizer)
      return isTrusted || isTrustedAt(base + begin, base + end);
    for (size_t i = begin; i < end; ++i)
      if (i >= scratch.origins.size() || !isTrustedAt(base + scratch.origins[i], base + scratch.origins[i] + 1))
        return false;
    return true;
  };
  splitAtAdded(t.addedNormalized, header.addedFirst[1], normalized, isTrustedPart, [&](size_t begin, size_t end) {
    preTokenize(0, {normalized.data() + begin, end - begin}, isFirst && begin == 0);
  });
}

/// Rewrites text as SentencePiece does: user-defined pieces stay, characters are mapped, blanks are collapsed and become U+2581.
void Encoder::normalizePieces(std::string_view text) {
  Buffer<char> &to = scratch.normalized;
  to.clear();
  const bool collapse = has(kCollapseSpaces);
  const std::string_view space = has(kPieceSpaces) ? kPieceSpace : std::string_view(" ");
  // Calls `use` with what the characters at `at` become, and returns how many bytes they are.
  const auto mapped = [&](size_t at, auto use) {
    size_t end = at;
    if (t.userPieces.longest(text, at, end) != kNoToken) {
      use(std::string_view(text.data() + at, end - at));
      return end - at;
    }
    const uint32_t offset = t.characterMap.longest(text, at, end);
    const std::string_view data = t.blob(TokenizerTable::CharacterMapData);
    if (offset < data.size()) {
      use(std::string_view(data.data() + offset));
      return end - at;
    }
    const size_t length = decodeUtf8(text.data() + at, text.size() - at).length;
    use(std::string_view(text.data() + at, length));
    return length;
  };
  size_t at = 0;
  if (collapse)
    for (bool isBlank = true; isBlank && at < text.size();) {
      const size_t length = mapped(at, [&](std::string_view piece) { isBlank = piece == " "; });
      at += isBlank ? length : 0;
    }
  if (at == text.size())
    return;
  if (has(kFirstSpace))
    append(to, space);
  bool afterBlank = collapse;
  while (at < text.size())
    at += mapped(at, [&](std::string_view piece) {
      size_t i = 0;
      while (afterBlank && i < piece.size() && piece[i] == ' ')
        ++i;
      if (i == piece.size())
        return;
      for (; i < piece.size(); ++i)
        if (piece[i] == ' ')
          append(to, space);
        else
          to.push(piece[i]);
      afterBlank = collapse && piece.back() == ' ';
    });
  if (collapse)
    while (to.size() >= space.size() && memcmp(to.end() - space.size(), space.data(), space.size()) == 0)
      to.truncate(to.size() - space.size());
  isFailed = to.failed();
}

void Encoder::preTokenize(uint32_t stage, std::string_view piece, bool isFirst) {
  if (piece.empty() || isFailed)
    return;
  if (stage == t.stageCount)
    return encodePiece(piece);
  switch (StageKind(t.stages[stage].kind)) {
  case StageKind::Split: return split(stage, piece, isFirst);
  case StageKind::Metaspace: return metaspace(stage, piece, isFirst);
  case StageKind::PrefixSpace: return prefixSpace(stage, piece, isFirst);
  case StageKind::MapBytes: return mapBytes(stage, piece);
  }
}

/// Splits a piece at the matches of the stage's automaton, and hands the parts to the next stage.
void Encoder::split(uint32_t stage, std::string_view piece, bool isFirst) {
  const bool invert = t.stages[stage].invert;
  const auto behavior = SplitBehavior(t.stages[stage].behavior);
  size_t begin = 0, end = 0; // the part that may still grow
  bool wasMatch = false, isOpen = false;
  const auto flush = [&] {
    if (isOpen)
      preTokenize(stage + 1, {piece.data() + begin, end - begin}, isFirst && begin == 0);
    isOpen = false;
  };
  const auto take = [&](size_t from, size_t to, bool isMatch) {
    isMatch = isMatch != invert;
    bool joins = false;
    switch (behavior) {
    case SplitBehavior::Isolated: break;
    case SplitBehavior::Removed:
      if (isMatch)
        return;
      break;
    case SplitBehavior::Contiguous: joins = isMatch == wasMatch; break;
    case SplitBehavior::MergedWithPrevious: joins = isMatch && !wasMatch; break;
    case SplitBehavior::MergedWithNext: joins = !isMatch && wasMatch; break;
    }
    wasMatch = isMatch;
    if (!joins || !isOpen) {
      flush();
      begin = from;
      isOpen = true;
    }
    end = to;
  };
  Matches matches(t.automata[stage], piece);
  size_t from = 0, to = 0, done = 0;
  while (!isFailed && matches.next(from, to)) {
    if (done < from)
      take(done, from, false);
    take(from, to, true);
    done = to;
  }
  if (done < piece.size())
    take(done, piece.size(), false);
  flush();
}

void Encoder::metaspace(uint32_t stage, std::string_view piece, bool isFirst) {
  const Stage &description = t.stages[stage];
  const std::string_view mark(t.table<char>(TokenizerTable::StageData) + description.offset, description.length);
  Buffer<char> &text = scratch.stages[stage];
  text.clear();
  const bool hasMark = piece[0] == ' ' || (piece.size() >= mark.size() && memcmp(piece.data(), mark.data(), mark.size()) == 0);
  const auto scheme = PrependScheme(description.behavior);
  if (!hasMark && (scheme == PrependScheme::Always || (scheme == PrependScheme::First && isFirst)))
    append(text, mark);
  for (size_t at = 0; at < piece.size();) {
    const void *const blank = memchr(piece.data() + at, ' ', piece.size() - at);
    const size_t next = blank ? size_t(static_cast<const char *>(blank) - piece.data()) : piece.size();
    append(text, {piece.data() + at, next - at});
    if (blank)
      append(text, mark);
    at = next + 1;
  }
  if (text.failed()) {
    isFailed = true;
    return;
  }
  if (!description.invert)
    return preTokenize(stage + 1, view(text), isFirst);
  // Each mark begins a part.
  size_t begin = 0;
  for (size_t at = 1; at + mark.size() <= text.size() && !isFailed; ++at)
    if (text[at] == mark[0] && memcmp(text.data() + at, mark.data(), mark.size()) == 0) {
      preTokenize(stage + 1, {text.data() + begin, at - begin}, isFirst && begin == 0);
      begin = at;
    }
  preTokenize(stage + 1, {text.data() + begin, text.size() - begin}, isFirst && begin == 0);
}

void Encoder::prefixSpace(uint32_t stage, std::string_view piece, bool isFirst) {
  if (piece[0] == ' ')
    return preTokenize(stage + 1, piece, isFirst);
  Buffer<char> &text = scratch.stages[stage];
  text.clear();
  text.push(' ');
  append(text, piece);
  isFailed |= text.failed();
  preTokenize(stage + 1, view(text), isFirst);
}

/// Returns the character of GPT-2's alphabet for a byte: itself if it prints in Latin-1, else one from U+0100 on.
static uint32_t mappedByte(uint8_t byte) {
  if (byte <= 0x20)
    return 0x100u + byte;
  if (byte >= 0x7F && byte <= 0xA0)
    return 0x121u + (byte - 0x7Fu);
  return byte == 0xAD ? 0x143 : byte;
}

/// Returns the byte that mappedByte() makes `code` of.
static char unmappedByte(uint32_t code) {
  return char(code < 0x100 ? code : code <= 0x120 ? code - 0x100 : code <= 0x142 ? code - 0x121 + 0x7F : 0xAD);
}

void Encoder::mapBytes(uint32_t stage, std::string_view piece) {
  Buffer<char> &text = scratch.stages[stage];
  text.clear();
  for (const char byte : piece) {
    char encoded[4];
    text.append(encoded, encodeUtf8(mappedByte(uint8_t(byte)), encoded));
  }
  isFailed |= text.failed();
  preTokenize(stage + 1, view(text), false);
}

/// Encodes what no pre-tokenizer splits any more.
void Encoder::encodePiece(std::string_view piece) {
  if (has(kMappedBytes)) {
    scratch.unmapped.clear();
    for (size_t at = 0; at < piece.size();) {
      const Character character = decodeUtf8(piece.data() + at, piece.size() - at);
      scratch.unmapped.push(unmappedByte(character.code));
      at += character.length;
    }
    if (scratch.unmapped.failed()) {
      isFailed = true;
      return;
    }
    piece = view(scratch.unmapped);
  }
  // Words that the cache takes need no cuts between bytes.
  if (!has(kSplitAtMarks) || (has(kByteLevel) && piece.size() <= sizeof(CachedWord::text)))
    return encodeWord(piece);
  size_t begin = 0;
  for (size_t at = 1; at < piece.size() && !isFailed; ++at) {
    if (!mayCut(piece, at))
      continue;
    encodeWord({piece.data() + begin, at - begin});
    begin = at;
  }
  if (begin < piece.size())
    encodeWord({piece.data() + begin, piece.size() - begin});
}

/// Returns whether no merge joins the two sides of a place: each symbol of BPE is a token, and none has these two bytes side by
/// side, or U+2581 after such a byte.
bool Encoder::mayCut(std::string_view piece, size_t at) const {
  const auto left = uint8_t(piece[at - 1]), right = uint8_t(piece[at]);
  if ((right & 0xC0) == 0x80 && !has(kByteLevel))
    return false;
  if (t.joins && !(t.joins[left * 32 + right / 8] >> (right % 8) & 1))
    return true;
  return right == uint8_t(kPieceSpace[0]) && !has(kByteLevel) && piece.size() - at >= kPieceSpace.size() &&
         memcmp(piece.data() + at, kPieceSpace.data(), kPieceSpace.size()) == 0 && !mayStart(header.beforeMark, piece[at - 1]);
}

/// Encodes a word, or takes its ids from the cache.
void Encoder::encodeWord(std::string_view word) {
  if (word.empty() || isFailed)
    return;
  if (word.size() > sizeof(CachedWord::text))
    return runModel(word);
  uint64_t text[3] = {0, 0, 0};
  memcpy(text, word.data(), word.size());
  const uint64_t mixed =
      (text[0] ^ (text[1] * 0x9E3779B97F4A7C15u) ^ (text[2] * 0xBF58476D1CE4E5B9u) ^ word.size()) * 0xD6E8FEB86659FD93u;
  CachedWord &cached = scratch.cache[(mixed >> 40) % kCacheSize];
  if (cached.length == word.size() && cached.text[0] == text[0] && cached.text[1] == text[1] && cached.text[2] == text[2] &&
      cached.trusted == isTrusted) {
    for (uint32_t i = 0; i < cached.count; ++i)
      push(cached.ids[i]);
    return;
  }
  const size_t before = ids.size();
  runModel(word);
  const size_t added = ids.size() - before;
  if (isFailed || ids.failed() || added > sizeof(cached.ids) / sizeof(cached.ids[0]))
    return;
  cached.length = uint8_t(word.size());
  cached.count = uint8_t(added);
  cached.trusted = isTrusted;
  memcpy(cached.text, text, sizeof(text));
  for (size_t i = 0; i < added; ++i)
    cached.ids[i] = uint32_t(ids[before + i]);
}

void Encoder::runModel(std::string_view word) {
  wasUnknown = false;
  switch (model) {
  case TokenizerModel::Bpe: return bpe(word);
  case TokenizerModel::Unigram: return unigram(word);
  case TokenizerModel::WordPiece: return wordPiece(word);
  case TokenizerModel::WordLevel: return wordLevel(word);
  }
}

//===- Byte pair encoding ---------------------------------------------------===//

/// Returns the token that the part of `word` at `at` starts as, or kNoToken.
uint32_t Encoder::firstSymbol(std::string_view word, size_t at, size_t length) {
  const bool isLast = at + length == word.size();
  if (has(kByteLevel))
    return isLast && t.lastByteSymbols ? t.lastByteSymbols[uint8_t(word[at])] : t.byteSymbols[uint8_t(word[at])];
  const std::string_view prefix = t.blob(TokenizerTable::Prefix), suffix = t.blob(TokenizerTable::Suffix);
  const std::string_view part(word.data() + at, length);
  if (prefix.empty() && suffix.empty())
    return t.findToken(part);
  scratch.word.clear();
  if (at > 0)
    append(scratch.word, prefix);
  append(scratch.word, part);
  if (isLast)
    append(scratch.word, suffix);
  isFailed |= scratch.word.failed();
  return t.findToken(view(scratch.word));
}

// Source: Sennrich 2016, with the order of HF tokenizers: the merge of lowest rank first, the leftmost of equals.
void Encoder::bpe(std::string_view word) {
  const uint32_t whole = t.findToken(word);
  if (whole != kNoToken && (has(kIgnoreMerges) || t.flags[whole] & kTokenWhole) && allowed(whole))
    return push(whole);
  Buffer<BpeSymbol> &symbols = scratch.symbols;
  symbols.clear();
  if (!symbols.reserve(word.size() + 1)) {
    isFailed = true;
    return;
  }
  bool isPending = false; // an unknown token that may take in the next character, too
  for (size_t at = 0, length = 1; at < word.size(); at += length) {
    length = has(kByteLevel) ? 1 : decodeUtf8(word.data() + at, word.size() - at).length;
    size_t end = at;
    const uint32_t user = t.userPieces.longest(word, at, end);
    const bool isUser = user < header.size;
    const uint32_t id = isUser ? user : firstSymbol(word, at, length);
    length = isUser ? end - at : length;
    if (id != kNoToken && allowed(id)) {
      if (isPending)
        pushSymbol(header.unknown);
      isPending = false;
      pushSymbol(id);
      continue;
    }
    if (has(kByteFallback)) {
      bool isComplete = true;
      for (size_t i = at; i < at + length; ++i)
        isComplete &= t.byteSymbols[uint8_t(word[i])] != kNoToken;
      for (size_t i = at; isComplete && i < at + length; ++i)
        pushSymbol(t.byteSymbols[uint8_t(word[i])]);
      if (isComplete)
        continue;
    }
    if (header.unknown == kNoToken)
      continue;
    if (isPending && !has(kFuseUnknown))
      pushSymbol(header.unknown);
    isPending = true;
  }
  if (isPending)
    pushSymbol(header.unknown);
  if (symbols.size() <= kShortWord)
    mergeShort();
  else
    mergeLong();
}

/// Looks up the merge of a symbol with the token after it.
void Encoder::setPair(BpeSymbol &symbol, uint32_t right) const {
  const PairSlot *const pair = t.findPair(symbol.id, right);
  const bool isUsable = pair && allowed(pair->merged);
  symbol.rank = isUsable ? pair->rank : kNoToken;
  symbol.merged = isUsable ? pair->merged : kNoToken;
}

void Encoder::mergeShort() {
  uint32_t tokens[kShortWord], ranks[kShortWord], merged[kShortWord];
  size_t count = scratch.symbols.size();
  const auto set = [&](size_t i) {
    const PairSlot *const pair = i + 1 < count ? t.findPair(tokens[i], tokens[i + 1]) : nullptr;
    const bool isUsable = pair && allowed(pair->merged);
    ranks[i] = isUsable ? pair->rank : kNoToken;
    merged[i] = isUsable ? pair->merged : kNoToken;
  };
  for (size_t i = 0; i < count; ++i)
    tokens[i] = scratch.symbols[i].id;
  for (size_t i = 0; i < count; ++i)
    set(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      best = ranks[i] < ranks[best] ? i : best;
    if (ranks[best] == kNoToken)
      break;
    tokens[best] = merged[best];
    --count;
    const size_t moved = (count - best - 1) * sizeof(uint32_t);
    memmove(tokens + best + 1, tokens + best + 2, moved);
    memmove(ranks + best + 1, ranks + best + 2, moved);
    memmove(merged + best + 1, merged + best + 2, moved);
    set(best);
    if (best > 0)
      set(best - 1);
  }
  for (size_t i = 0; i < count; ++i)
    writeSymbol(tokens[i]);
}

/// Restores the order of a heap below `at`; the smallest key is first.
static void siftDown(Buffer<uint64_t> &heap, size_t at) {
  const uint64_t key = heap[at];
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= heap.size())
      break;
    if (child + 1 < heap.size() && heap[child + 1] < heap[child])
      ++child;
    if (key <= heap[child])
      break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = key;
}

void Encoder::mergeLong() {
  Buffer<BpeSymbol> &symbols = scratch.symbols;
  Buffer<uint64_t> &heap = scratch.heap;
  const auto count = uint32_t(symbols.size());
  heap.clear();
  // Each merge takes one key away and adds at most two, and there are fewer merges than symbols.
  if (!heap.reserve(3 * size_t(count))) {
    isFailed = true;
    return;
  }
  const auto keyOf = [&](uint32_t i) { return uint64_t(symbols[i].rank) << 32 | i; };
  for (uint32_t i = 0; i < count; ++i) {
    symbols[i].previous = i ? i - 1 : kNoToken;
    symbols[i].next = i + 1 < count ? i + 1 : kNoToken;
    if (i + 1 < count)
      setPair(symbols[i], symbols[i + 1].id);
    if (symbols[i].rank != kNoToken)
      heap.push(keyOf(i));
  }
  for (size_t i = heap.size() / 2; i-- > 0;)
    siftDown(heap, i);
  const auto add = [&](uint32_t i) {
    setPair(symbols[i], symbols[symbols[i].next].id);
    if (symbols[i].rank == kNoToken)
      return;
    const uint64_t key = keyOf(i);
    heap.push(key);
    size_t at = heap.size() - 1;
    for (; at > 0 && key < heap[(at - 1) / 2]; at = (at - 1) / 2)
      heap[at] = heap[(at - 1) / 2];
    heap[at] = key;
  };
  while (!heap.empty()) {
    const uint64_t key = heap[0];
    heap[0] = heap.back();
    heap.pop();
    if (!heap.empty())
      siftDown(heap, 0);
    const auto i = uint32_t(key);
    BpeSymbol &symbol = symbols[i];
    if (symbol.rank != uint32_t(key >> 32)) // the pair is another one by now, or none
      continue;
    const uint32_t gone = symbol.next;
    symbol.id = symbol.merged;
    symbol.rank = kNoToken;
    symbol.next = symbols[gone].next;
    symbols[gone].rank = kNoToken;
    if (symbol.next != kNoToken) {
      symbols[symbol.next].previous = i;
      add(i);
    }
    if (symbol.previous != kNoToken)
      add(symbol.previous);
  }
  for (uint32_t i = 0; i < count; i = symbols[i].next)
    writeSymbol(symbols[i].id);
}

void Encoder::writeSymbol(uint32_t id) {
  if (id >= header.size)
    return unknownText(t.bytesOf(id));
  if (id == header.unknown && has(kFuseUnknown) && wasUnknown)
    return;
  wasUnknown = id == header.unknown && has(kPieceNormalizer);
  push(id);
}

/// Writes the bytes of a text that is no token, or the unknown token.
void Encoder::unknownText(std::string_view text) {
  bool isComplete = has(kByteFallback);
  for (size_t i = 0; isComplete && i < text.size(); ++i)
    isComplete = t.byteSymbols[uint8_t(text[i])] < header.size;
  if (isComplete) {
    for (const char byte : text)
      push(t.byteSymbols[uint8_t(byte)]);
    wasUnknown = false;
    return;
  }
  if (header.unknown != kNoToken && !(wasUnknown && has(kFuseUnknown)))
    push(header.unknown);
  wasUnknown = true;
}

//===- Unigram --------------------------------------------------------------===//

// Source: Kudo 2018, section 3.2: the most likely path (Viterbi). Of equal paths the one found first stays, as in HF tokenizers.
void Encoder::unigram(std::string_view word) {
  Buffer<UnigramNode> &path = scratch.path;
  path.clear();
  if (!path.reserve(word.size() + 1) || !scratch.backwards.reserve(2 * word.size())) {
    isFailed = true;
    return;
  }
  for (size_t i = 0; i <= word.size(); ++i)
    path.push({0, kNoToken, kNoToken});
  const bool isSingle = has(kSingleScores);
  const auto offer = [&](size_t to, size_t from, double score, uint32_t id) {
    UnigramNode &node = path[to];
    if (node.start != kNoToken && !(score > node.score))
      return;
    node = {isSingle ? double(float(score)) : score, id, uint32_t(from)};
  };
  for (size_t at = 0; at < word.size();) {
    const double here = path[at].score;
    const size_t length = decodeUtf8(word.data() + at, word.size() - at).length;
    bool hasSingle = false;
    uint32_t node = 0;
    for (size_t to = at; !t.pieces.empty() && to < word.size();) {
      node = t.pieces.step(node, uint8_t(word[to++]));
      if (node == 0)
        break;
      const uint32_t id = t.pieces.value(node);
      if (id >= header.symbolCount || !allowed(id))
        continue;
      const bool isUser = t.flags[id] & kTokenUser;
      offer(to, at, here + (isUser ? double(to - at) * header.longestScore - 0.1 : t.scores[id]), id);
      hasSingle |= to - at == length;
    }
    if (!hasSingle)
      offer(at + length, at, here + header.unknownScore, kNoToken);
    at += length;
  }
  // Backwards: begin and end of each token; unknown neighbours are one text.
  Buffer<uint32_t> &starts = scratch.backwards;
  starts.clear();
  for (size_t end = word.size(); end > 0;) {
    const UnigramNode &node = path[end];
    if (node.start >= end) // only a damaged table has tokens that end inside of characters
      break;
    starts.push(uint32_t(end));
    end = node.start;
  }
  for (size_t i = starts.size(); i-- > 0;) {
    size_t end = starts[i];
    const UnigramNode &node = path[end];
    if (node.id < header.size) {
      wasUnknown = false;
      push(node.id);
      continue;
    }
    while (has(kFuseUnknown) && i > 0 && path[starts[i - 1]].id == kNoToken)
      end = starts[--i];
    unknownText({word.data() + node.start, end - node.start});
  }
}

//===- WordPiece and words --------------------------------------------------===//

// Source: Schuster 2012. The longest token first; a word with a part that is no token is unknown.
void Encoder::wordPiece(std::string_view word) {
  const size_t before = ids.size();
  const auto unknown = [&] {
    ids.truncate(before);
    if (header.unknown != kNoToken)
      push(header.unknown);
  };
  size_t characters = 0;
  for (const char byte : word)
    characters += (uint8_t(byte) & 0xC0) != 0x80;
  if (characters > header.longestWord)
    return unknown();
  const std::string_view prefix = t.blob(TokenizerTable::Prefix);
  for (size_t at = 0; at < word.size();) {
    std::string_view rest(word.data() + at, word.size() - at);
    if (at > 0 && !prefix.empty()) {
      scratch.word.clear();
      append(scratch.word, prefix);
      append(scratch.word, rest);
      if (scratch.word.failed()) {
        isFailed = true;
        return;
      }
      rest = view(scratch.word);
    }
    const size_t skipped = rest.size() - (word.size() - at);
    size_t end = rest.size() < header.longestToken ? rest.size() : header.longestToken;
    uint32_t id = kNoToken;
    for (; end > skipped; --end) {
      if (end < rest.size() && (uint8_t(rest[end]) & 0xC0) == 0x80)
        continue;
      id = t.findToken({rest.data(), end});
      if (id != kNoToken && allowed(id))
        break;
    }
    if (end <= skipped)
      return unknown();
    push(id);
    at += end - skipped;
  }
}

void Encoder::wordLevel(std::string_view word) {
  const uint32_t id = t.findToken(word);
  if (id != kNoToken && allowed(id))
    push(id);
  else if (header.unknown != kNoToken)
    push(header.unknown);
}

} // namespace edgecc::text

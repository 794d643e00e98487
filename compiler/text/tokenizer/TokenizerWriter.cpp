//===- TokenizerWriter.cpp - Writes the tokenizer section --------------------===//
#include "compiler/text/tokenizer/Description.h"
#include "compiler/text/tokenizer/Sources.h"
#include "compiler/text/tokenizer/TrieBuilder.h"
#include "compiler/text/unicode/Pattern.h"
#include "runtime/text/tokenizer/Tokenizer.h"
#include "runtime/text/unicode/Utf8.h"

#include <algorithm>
#include <set>
#include <unordered_map>

namespace edgecc::text {
namespace {

constexpr std::string_view kMark = "\xe2\x96\x81"; // U+2581

uint64_t pairKey(uint32_t left, uint32_t right) { return uint64_t(left) << 32 | right; }

class Writer {
public:
  Writer(TokenizerDescription &from, std::string &error) : from(from), error(error) {}
  std::string write();

private:
  bool check();
  void findWholeTokens();
  void findSplits();
  void writeTokens();
  void writeMerges();
  bool writeAdded();
  void writeStages();
  void writeDecoder();

  template <typename T> void put(TokenizerTable which, const std::vector<T> &elements) {
    tables[uint32_t(which)].assign(reinterpret_cast<const char *>(elements.data()), elements.size() * sizeof(T));
  }
  std::string &table(TokenizerTable which) { return tables[uint32_t(which)]; }
  bool has(TokenizerFlag flag) const { return from.flags & flag; }

  TokenizerDescription &from;
  std::string &error;
  TokenizerHeader header = {};
  std::string tables[uint32_t(TokenizerTable::Count)];
  std::unordered_map<std::string_view, uint32_t> ids; ///< of tokens that the model may produce
  uint32_t byteSymbols[256], lastByteSymbols[256];
  std::unordered_map<uint64_t, const TokenizerDescription::Merge *> mergeOf;
};

bool Writer::check() {
  if (from.tokens.empty()) {
    error = "has no tokens";
    return false;
  }
  if (from.tokens.size() + from.internal.size() > kMaxTokens) {
    error = "has " + std::to_string(from.tokens.size()) + " tokens; at most " + std::to_string(kMaxTokens) + " are supported";
    return false;
  }
  if (from.preTokenizers.size() > kMaxStages || from.decoder.size() > kMaxDecodeSteps || from.added.size() > kMaxAddedTokens ||
      from.before.size() > kMaxWrapping || from.after.size() > kMaxWrapping) {
    error = "has too many pre-tokenizers, decoders, added tokens, or tokens around a text";
    return false;
  }
  for (const auto &list : {from.before, from.after, {from.unknown, from.begin, from.end, from.padding}})
    for (uint32_t id : list)
      if (id != kNoToken && id >= from.tokens.size()) {
        error = "names the id " + std::to_string(id) + ", but has " + std::to_string(from.tokens.size()) + " tokens";
        return false;
      }
  return true;
}

/// Finds what BPE makes of each token's own text. Tokens that it turns into themselves are marked, so that the phone takes them
/// with one look-up. Merges that no text can reach are dropped: once a token is merged, all merges inside of it were those of its
/// own text, in the same order, since ranks and places order them the same way there. So each token has one last merge.
void Writer::findWholeTokens() {
  const uint32_t size = uint32_t(from.tokens.size());
  bool mayPrune = from.prefix.empty() && from.suffix.empty();
  for (const TokenizerDescription::Merge &merge : from.merges)
    mayPrune &= merge.merged >= size || !(from.tokens[merge.merged].flags & kTokenSpecial);
  if (!from.prefix.empty() || !from.suffix.empty())
    return;
  std::vector<std::string_view> users;
  for (const TokenizerDescription::Token &token : from.tokens)
    if (token.flags & kTokenUser)
      users.push_back(token.bytes);
  constexpr uint64_t kKeepAll = UINT64_MAX;
  std::vector<uint64_t> lastPair(size, kKeepAll); ///< the pair of the last merge, or 0 for none
  std::vector<uint32_t> symbols;
  for (uint32_t id = 0; id < size; ++id) {
    TokenizerDescription::Token &token = from.tokens[id];
    if (!token.inModel || token.bytes.size() > 512)
      continue;
    bool isUsual = true; // made of known characters, without user-defined pieces
    symbols.clear();
    for (size_t at = 0, length = 0; at < token.bytes.size() && isUsual; at += length) {
      length = has(kByteLevel) ? 1 : decodeUtf8(token.bytes.data() + at, token.bytes.size() - at).length;
      uint32_t symbol = byteSymbols[uint8_t(token.bytes[at])];
      if (!has(kByteLevel)) {
        const auto found = ids.find(std::string_view(token.bytes).substr(at, length));
        symbol = found == ids.end() ? kNoToken : found->second;
      }
      isUsual = symbol != kNoToken;
      symbols.push_back(symbol);
    }
    for (size_t i = 0; i < users.size() && isUsual; ++i)
      isUsual = token.bytes.find(users[i]) == std::string::npos;
    if (!isUsual)
      continue;
    uint64_t last = 0;
    while (symbols.size() > 1) {
      const TokenizerDescription::Merge *best = nullptr;
      size_t place = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto found = mergeOf.find(pairKey(symbols[i], symbols[i + 1]));
        if (found != mergeOf.end() && (!best || found->second->rank < best->rank)) {
          best = found->second;
          place = i;
        }
      }
      if (!best)
        break;
      last = pairKey(best->left, best->right);
      symbols[place] = best->merged;
      symbols.erase(symbols.begin() + long(place) + 1);
    }
    const bool isWhole = symbols.size() == 1 && symbols[0] == id;
    token.flags |= isWhole ? kTokenWhole : 0;
    lastPair[id] = isWhole ? last : 0;
  }
  if (!mayPrune)
    return;
  for (auto merge = mergeOf.begin(); merge != mergeOf.end();) {
    const uint32_t merged = merge->second->merged;
    const bool isReachable = merged >= size || lastPair[merged] == kKeepAll || lastPair[merged] == merge->first;
    merge = isReachable ? std::next(merge) : mergeOf.erase(merge);
  }
}

/// Finds the pairs of bytes that meet inside of tokens, in BPE over characters only those where two characters meet. Elsewhere no
/// merge joins the two sides, since the text of each symbol is a token: words may be cut there. A byte that may be unknown is
/// dropped, or makes one unknown token with its neighbours, so nothing is cut beside it.
void Writer::findSplits() {
  if (from.model != TokenizerModel::Bpe || has(kIgnoreMerges) || !from.prefix.empty() || !from.suffix.empty())
    return;
  // The text of `<0xXX>` or of the unknown token is not the text it stands for.
  const auto isOther = [&](uint32_t id) {
    return id == from.unknown || (id < from.tokens.size() && from.tokens[id].flags & kTokenByte);
  };
  for (const auto &[key, merge] : mergeOf)
    if (isOther(merge->left) || isOther(merge->right))
      return;
  std::string joins(65536 / 8, '\0');
  const auto join = [&](uint32_t left, uint32_t right) {
    joins[left * 32 + right / 8] = char(joins[left * 32 + right / 8] | 1 << right % 8);
  };
  for (const auto *list : {&from.tokens, &from.internal})
    for (const TokenizerDescription::Token &token : *list)
      for (size_t at = 1; at < token.bytes.size() && (token.inModel || token.flags & kTokenUser); ++at) {
        const auto left = uint8_t(token.bytes[at - 1]), right = uint8_t(token.bytes[at]);
        if (has(kByteLevel) || (right & 0xC0) != 0x80)
          join(left, right);
        if (token.bytes.compare(at, kMark.size(), kMark) == 0)
          header.beforeMark[left / 8] |= uint8_t(1 << left % 8);
      }
  bool hasAllBytes = true;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const uint32_t id = byteSymbols[byte];
    hasAllBytes &= id != kNoToken;
    const bool isSpecial = id < from.tokens.size() && from.tokens[id].flags & kTokenSpecial;
    for (uint32_t other = 0; has(kByteLevel) && other < 256 && (id == kNoToken || isSpecial); ++other) {
      join(byte, other);
      join(other, byte);
    }
  }
  const bool isKnown = has(kByteLevel) || (has(kByteFallback) && hasAllBytes);
  if (isKnown || ids.find(kMark) != ids.end())
    header.flags |= kSplitAtMarks;
  if (isKnown)
    table(TokenizerTable::Joins) = joins;
}

void Writer::writeTokens() {
  std::vector<uint32_t> offsets = {0};
  std::string bytes, flags;
  std::vector<double> scores;
  std::vector<TokenizerDescription::Token> all = from.tokens;
  all.insert(all.end(), from.internal.begin(), from.internal.end());
  for (const TokenizerDescription::Token &token : all) {
    bytes += token.bytes;
    offsets.push_back(uint32_t(bytes.size()));
    flags.push_back(char(token.flags));
    scores.push_back(token.score);
  }
  put(TokenizerTable::Offsets, offsets);
  table(TokenizerTable::Bytes) = bytes;
  table(TokenizerTable::Flags) = flags;

  if (from.model == TokenizerModel::Unigram) {
    put(TokenizerTable::Scores, scores);
    std::map<std::string, uint32_t> pieces;
    for (const auto &[text, id] : ids)
      pieces.emplace(text, id);
    put(TokenizerTable::Pieces, buildTrie(pieces));
  }
  size_t slots = 1;
  while (slots < 2 * ids.size())
    slots *= 2;
  std::vector<HashSlot> hash(slots, {0, kNoToken});
  header.hashProbes = 1;
  for (const auto &[text, id] : ids) {
    header.longestToken = std::max(header.longestToken, uint32_t(text.size()));
    const uint32_t wanted = hashBytes(text);
    uint32_t probes = 0;
    while (hash[(wanted + probes) & (slots - 1)].id != kNoToken)
      ++probes;
    hash[(wanted + probes) & (slots - 1)] = {wanted, id};
    header.hashProbes = std::max(header.hashProbes, probes + 1);
  }
  put(TokenizerTable::Hash, hash);
  put(TokenizerTable::ByteSymbols, std::vector<uint32_t>(std::begin(byteSymbols), std::end(byteSymbols)));
  if (has(kByteLevel) && !from.suffix.empty())
    put(TokenizerTable::LastByteSymbols, std::vector<uint32_t>(std::begin(lastByteSymbols), std::end(lastByteSymbols)));
}

void Writer::writeMerges() {
  size_t slots = 1;
  while (slots < 2 * mergeOf.size())
    slots *= 2;
  std::vector<PairSlot> pairs(slots, {kNoToken, kNoToken, kNoToken, kNoToken});
  header.pairProbes = 1;
  for (const auto &[key, merge] : mergeOf) {
    const uint32_t wanted = hashPair(merge->left, merge->right);
    uint32_t probes = 0;
    while (pairs[(wanted + probes) & (slots - 1)].left != kNoToken)
      ++probes;
    pairs[(wanted + probes) & (slots - 1)] = {merge->left, merge->right, merge->rank, merge->merged};
    header.pairProbes = std::max(header.pairProbes, probes + 1);
  }
  put(TokenizerTable::Pairs, pairs);
}

bool Writer::writeAdded() {
  std::vector<AddedToken> added;
  std::map<std::string, uint32_t> tries[2];
  bool needsSpaces = false, needsWords = false;
  Normalizer normalizer;
  std::vector<uint64_t> program((from.normalizer.size() + 7) / 8); // aligned
  if (!from.normalizer.empty()) {
    memcpy(program.data(), from.normalizer.data(), from.normalizer.size());
    if (const char *fault = normalizer.open(program.data(), from.normalizer.size())) {
      error = fault;
      return false;
    }
  }
  for (const TokenizerDescription::Added &token : from.added) {
    std::string key = token.content;
    if (token.isNormalized && !from.normalizer.empty()) {
      NormalizerScratch scratch;
      Buffer<char> normalized;
      if (!normalizer.run(token.content, scratch, normalized, nullptr)) {
        error = "the added token \"" + token.content + "\" cannot be normalized";
        return false;
      }
      key.assign(normalized.data(), normalized.size());
    }
    if (key.empty())
      continue;
    // In HF tokenizers the first of two tokens with one text counts.
    if (tries[token.isNormalized].emplace(key, uint32_t(added.size())).second)
      header.addedFirst[token.isNormalized][uint8_t(key[0]) / 8] |= uint8_t(1 << uint8_t(key[0]) % 8);
    needsSpaces |= token.stripsLeft || token.stripsRight;
    needsWords |= token.isSingleWord;
    added.push_back({token.id, (token.isSpecial ? kAddedSpecial : 0u) | (token.stripsLeft ? kAddedLeftStrip : 0u) |
                                   (token.stripsRight ? kAddedRightStrip : 0u) | (token.isSingleWord ? kAddedSingleWord : 0u)});
  }
  put(TokenizerTable::Added, added);
  put(TokenizerTable::AddedRaw, buildTrie(tries[0]));
  put(TokenizerTable::AddedNormalized, buildTrie(tries[1]));
  if (needsSpaces && !compilePattern("\\s", table(TokenizerTable::Spaces), error))
    return false;
  return !needsWords || compilePattern(kWordCharacter, table(TokenizerTable::WordCharacters), error);
}

void Writer::writeStages() {
  std::vector<Stage> stages;
  std::string &data = table(TokenizerTable::StageData);
  for (const TokenizerDescription::PreTokenizer &stage : from.preTokenizers) {
    data.resize((data.size() + 7) / 8 * 8);
    stages.push_back({uint32_t(stage.kind), stage.behavior, stage.invert, uint32_t(data.size()), uint32_t(stage.data.size())});
    data += stage.data;
  }
  put(TokenizerTable::Stages, stages);
}

void Writer::writeDecoder() {
  std::vector<DecodeStep> steps;
  std::string &data = table(TokenizerTable::DecodeData);
  for (const TokenizerDescription::DecoderStep &step : from.decoder) {
    steps.push_back({uint32_t(step.kind), step.count, step.countEnd, uint32_t(data.size()), uint32_t(step.a.size()),
                     uint32_t(data.size() + step.a.size()), uint32_t(step.b.size())});
    data += step.a + step.b;
  }
  put(TokenizerTable::DecodeSteps, steps);
}

std::string Writer::write() {
  if (!check())
    return "";
  header.flags = from.flags;
  // A token is special by its text, as in HF tokenizers: a vocabulary may have the text twice.
  std::set<std::string_view> special;
  for (const TokenizerDescription::Added &token : from.added)
    if (token.isSpecial) {
      from.tokens[token.id].flags |= kTokenSpecial;
      special.insert(token.content);
    }
  for (TokenizerDescription::Token &token : from.tokens)
    if (special.count(token.bytes))
      token.flags |= kTokenSpecial;
  const uint32_t size = uint32_t(from.tokens.size());
  for (uint32_t id = 0; id < size + from.internal.size(); ++id) {
    const TokenizerDescription::Token &token = id < size ? from.tokens[id] : from.internal[id - size];
    // HF's Unigram takes the last of several tokens with one text. Other models have no such tokens.
    if (token.inModel && !token.bytes.empty())
      ids.insert_or_assign(token.bytes, id);
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    char name[8];
    snprintf(name, sizeof(name), "<0x%02X>", byte);
    const std::string one(1, char(byte)), text = has(kByteLevel) ? one : name;
    // Tokens of bytes need not be in the model: SentencePiece has them beside it.
    auto found = ids.find(text);
    byteSymbols[byte] = found == ids.end() ? kNoToken : found->second;
    found = ids.find(one + from.suffix);
    lastByteSymbols[byte] = found == ids.end() ? kNoToken : found->second;
  }
  if (has(kByteFallback))
    for (uint32_t id = 0; id < size; ++id)
      if (from.tokens[id].flags & kTokenByte)
        byteSymbols[strtoul(from.tokens[id].bytes.c_str() + 3, nullptr, 16) & 255] = id;
  for (const TokenizerDescription::Merge &merge : from.merges)
    mergeOf[pairKey(merge.left, merge.right)] = &merge;

  if (from.model == TokenizerModel::Bpe)
    findWholeTokens();
  findSplits();
  writeTokens();
  writeMerges();
  if (!writeAdded())
    return "";
  writeStages();
  writeDecoder();
  table(TokenizerTable::Normalizer) = from.normalizer;
  put(TokenizerTable::Before, from.before);
  put(TokenizerTable::After, from.after);
  table(TokenizerTable::Prefix) = from.prefix;
  table(TokenizerTable::Suffix) = from.suffix;
  std::map<std::string, uint32_t> users, mapped;
  for (uint32_t id = 0; id < size; ++id)
    if (from.tokens[id].flags & kTokenUser)
      users.emplace(from.tokens[id].bytes, id);
  put(TokenizerTable::UserPieces, buildTrie(users));
  for (const auto &[source, target] : from.characterMap) {
    mapped.emplace(source, uint32_t(table(TokenizerTable::CharacterMapData).size()));
    table(TokenizerTable::CharacterMapData) += target + '\0';
  }
  put(TokenizerTable::CharacterMap, buildTrie(mapped));

  memcpy(header.magic, kTokenizerMagic, sizeof(kTokenizerMagic));
  header.version = kTokenizerVersion;
  header.model = uint32_t(from.model);
  header.size = size;
  header.symbolCount = size + uint32_t(from.internal.size());
  header.unknown = from.unknown;
  header.begin = from.begin;
  header.end = from.end;
  header.padding = from.padding;
  header.longestWord = from.longestWord;
  header.unknownScore = from.unknownScore;
  header.longestScore = from.longestScore;
  std::string section(sizeof(header), '\0');
  for (uint32_t i = 0; i < uint32_t(TokenizerTable::Count); ++i) {
    section.resize((section.size() + 7) / 8 * 8);
    header.tables[i] = {uint32_t(section.size()), uint32_t(tables[i].size())};
    section += tables[i];
  }
  memcpy(section.data(), &header, sizeof(header));
  return section;
}

} // namespace

std::string writeTokenizer(TokenizerDescription description, std::string &error) { return Writer(description, error).write(); }

} // namespace edgecc::text

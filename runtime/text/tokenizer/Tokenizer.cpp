//===- Tokenizer.cpp - Checks the tokenizer section and looks tokens up ------===//
#include "runtime/text/tokenizer/Tokenizer.h"

namespace edgecc::text {

static_assert(sizeof(HashSlot) == 8 && sizeof(PairSlot) == 16 && sizeof(TrieNode) == 12 && sizeof(AddedToken) == 8 &&
                  sizeof(Stage) == 20 && sizeof(DecodeStep) == 28,
              "the layout is the same on every platform");

size_t Trust::firstEndingAfter(size_t position) const {
  size_t low = 0, high = count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (ranges[middle].end > position)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

bool Trust::covers(size_t begin, size_t end) const {
  for (size_t i = firstEndingAfter(begin); begin < end; ++i) {
    if (i >= count || ranges[i].begin > begin || ranges[i].end <= begin)
      return false;
    begin = ranges[i].end;
  }
  return true;
}

bool Trust::touches(size_t begin, size_t end) const {
  const size_t i = firstEndingAfter(begin);
  return i < count && ranges[i].begin < end;
}

/// Returns whether a table has a power of two of elements.
static bool isPowerOfTwo(uint32_t count) { return count != 0 && (count & (count - 1)) == 0; }

const char *CompiledTokenizer::open(const void *data, size_t size) {
  header = nullptr;
  if (size < sizeof(TokenizerHeader) || size > INT32_MAX)
    return "the tokenizer section has no valid size";
  if (reinterpret_cast<uintptr_t>(data) % 8 != 0)
    return "the tokenizer section is not aligned to 8 bytes";
  header = static_cast<const TokenizerHeader *>(data);
  const char *fault = checkTables(size);
  if (!fault)
    fault = checkStages();
  if (!fault)
    fault = checkDecoder();
  if (fault)
    header = nullptr;
  return fault;
}

// Contract: after open() returns null, every table lies in the section, and its size is what lookups rely on. Lookups check what
// they read in large tables.
const char *CompiledTokenizer::checkTables(size_t size) const {
  if (memcmp(header->magic, kTokenizerMagic, sizeof(kTokenizerMagic)) != 0)
    return "the tokenizer section has another format: compile the tokenizer again";
  if (header->version != kTokenizerVersion)
    return "the tokenizer section has another version than this library: compile the tokenizer again";
  if (header->model > uint32_t(TokenizerModel::WordLevel) || header->size == 0 || header->size > header->symbolCount ||
      header->symbolCount > kMaxTokens)
    return "the tokenizer section has an invalid model or number of tokens";
  for (uint32_t id : {header->unknown, header->begin, header->end, header->padding})
    if (id != kNoToken && id >= header->size)
      return "the tokenizer section names a special id that it does not have";
  for (const TablePlace &place : header->tables)
    if (place.offset % 8 != 0 || place.offset > size || place.length > size - place.offset)
      return "a table lies outside of the tokenizer section";
  const auto lengthOf = [&](TokenizerTable which) { return header->tables[uint32_t(which)].length; };
  if (lengthOf(TokenizerTable::Offsets) != (uint64_t(header->symbolCount) + 1) * 4 ||
      lengthOf(TokenizerTable::Flags) != header->symbolCount)
    return "the tokenizer section has tables of another number of tokens";
  const uint32_t hashBytesCount = lengthOf(TokenizerTable::Hash), pairBytes = lengthOf(TokenizerTable::Pairs);
  if (hashBytesCount % sizeof(HashSlot) != 0 || !isPowerOfTwo(hashBytesCount / sizeof(HashSlot)))
    return "the hash table of tokens has an invalid size";
  if (pairBytes % sizeof(PairSlot) != 0 || !isPowerOfTwo(pairBytes / sizeof(PairSlot)))
    return "the hash table of merges has an invalid size";
  if (lengthOf(TokenizerTable::ByteSymbols) != 1024 ||
      (lengthOf(TokenizerTable::LastByteSymbols) != 1024 && lengthOf(TokenizerTable::LastByteSymbols) != 0))
    return "the table of bytes has an invalid size";
  for (TokenizerTable which : {TokenizerTable::ByteSymbols, TokenizerTable::LastByteSymbols})
    for (uint32_t i = 0; i < count<uint32_t>(which); ++i)
      if (table<uint32_t>(which)[i] >= header->symbolCount && table<uint32_t>(which)[i] != kNoToken)
        return "the table of bytes names a token that does not exist";
  if (header->model == uint32_t(TokenizerModel::Unigram) &&
      lengthOf(TokenizerTable::Scores) != uint64_t(header->symbolCount) * sizeof(double))
    return "the table of scores has an invalid size";
  for (TokenizerTable which : {TokenizerTable::Pieces, TokenizerTable::AddedRaw, TokenizerTable::AddedNormalized,
                               TokenizerTable::CharacterMap, TokenizerTable::UserPieces})
    if (lengthOf(which) % sizeof(TrieNode) != 0)
      return "a trie has an invalid size";
  if (lengthOf(TokenizerTable::Added) % sizeof(AddedToken) != 0 || count<AddedToken>(TokenizerTable::Added) > kMaxAddedTokens)
    return "the table of added tokens has an invalid size";
  for (uint32_t i = 0; i < count<AddedToken>(TokenizerTable::Added); ++i)
    if (table<AddedToken>(TokenizerTable::Added)[i].id >= header->size)
      return "an added token has an id that does not exist";
  if (lengthOf(TokenizerTable::Joins) != 0 && lengthOf(TokenizerTable::Joins) != 65536 / 8)
    return "the table of bytes that meet in tokens has an invalid size";
  const std::string_view map = blob(TokenizerTable::CharacterMapData);
  if (!map.empty() && map.back() != 0)
    return "the character map does not end with a zero byte";
  for (TokenizerTable which : {TokenizerTable::Before, TokenizerTable::After}) {
    if (lengthOf(which) % 4 != 0 || count<uint32_t>(which) > kMaxWrapping)
      return "the tokens around a text have an invalid number";
    for (uint32_t i = 0; i < count<uint32_t>(which); ++i)
      if (table<uint32_t>(which)[i] >= header->size)
        return "a token around a text has an id that does not exist";
  }
  return nullptr;
}

const char *CompiledTokenizer::checkStages() {
  offsets = table<uint32_t>(TokenizerTable::Offsets);
  const std::string_view text = blob(TokenizerTable::Bytes);
  bytes = text.data();
  byteCount = uint32_t(text.size());
  flags = table<uint8_t>(TokenizerTable::Flags);
  hash = table<HashSlot>(TokenizerTable::Hash);
  hashMask = count<HashSlot>(TokenizerTable::Hash) - 1;
  pairs = table<PairSlot>(TokenizerTable::Pairs);
  pairMask = count<PairSlot>(TokenizerTable::Pairs) - 1;
  byteSymbols = table<uint32_t>(TokenizerTable::ByteSymbols);
  lastByteSymbols = blob(TokenizerTable::LastByteSymbols).empty() ? nullptr : table<uint32_t>(TokenizerTable::LastByteSymbols);
  scores = table<double>(TokenizerTable::Scores);
  joins = blob(TokenizerTable::Joins).empty() ? nullptr : table<uint8_t>(TokenizerTable::Joins);
  pieces = {table<TrieNode>(TokenizerTable::Pieces), count<TrieNode>(TokenizerTable::Pieces)};
  addedRaw = {table<TrieNode>(TokenizerTable::AddedRaw), count<TrieNode>(TokenizerTable::AddedRaw)};
  addedNormalized = {table<TrieNode>(TokenizerTable::AddedNormalized), count<TrieNode>(TokenizerTable::AddedNormalized)};
  characterMap = {table<TrieNode>(TokenizerTable::CharacterMap), count<TrieNode>(TokenizerTable::CharacterMap)};
  userPieces = {table<TrieNode>(TokenizerTable::UserPieces), count<TrieNode>(TokenizerTable::UserPieces)};
  added = table<AddedToken>(TokenizerTable::Added);
  addedCount = count<AddedToken>(TokenizerTable::Added);
  stages = table<Stage>(TokenizerTable::Stages);
  stageCount = count<Stage>(TokenizerTable::Stages);

  const std::string_view stageData = blob(TokenizerTable::StageData);
  if (header->tables[uint32_t(TokenizerTable::Stages)].length % sizeof(Stage) != 0 || stageCount > kMaxStages)
    return "the pre-tokenizers have an invalid number";
  for (uint32_t i = 0; i < stageCount; ++i) {
    const Stage &stage = stages[i];
    if (stage.kind > uint32_t(StageKind::MapBytes) || stage.offset > stageData.size() ||
        stage.length > stageData.size() - stage.offset)
      return "a pre-tokenizer has an invalid kind or place";
    if (stage.behavior > uint32_t(StageKind(stage.kind) == StageKind::Split ? uint32_t(SplitBehavior::MergedWithNext)
                                                                            : uint32_t(PrependScheme::Always)))
      return "a pre-tokenizer has an invalid behavior";
    if (stage.kind == uint32_t(StageKind::Metaspace) && stage.length == 0)
      return "a pre-tokenizer replaces blanks by nothing";
    if (stage.kind == uint32_t(StageKind::Split))
      if (const char *fault = automata[i].open(stageData.data() + stage.offset, stage.length))
        return fault;
  }
  for (auto [automaton, which] : {std::pair{&spaces, TokenizerTable::Spaces}, {&wordCharacters, TokenizerTable::WordCharacters}})
    if (!blob(which).empty())
      if (const char *fault = automaton->open(blob(which).data(), blob(which).size()))
        return fault;
  for (uint32_t i = 0; i < addedCount; ++i)
    if ((added[i].flags & (kAddedLeftStrip | kAddedRightStrip) && !spaces.isOpen()) ||
        (added[i].flags & kAddedSingleWord && !wordCharacters.isOpen()))
      return "an added token needs a class of characters that is missing";
  const std::string_view program = blob(TokenizerTable::Normalizer);
  hasNormalizer = !program.empty();
  return hasNormalizer ? normalizer.open(program.data(), program.size()) : nullptr;
}

const char *CompiledTokenizer::checkDecoder() const {
  const std::string_view data = blob(TokenizerTable::DecodeData);
  const uint32_t steps = count<DecodeStep>(TokenizerTable::DecodeSteps);
  if (header->tables[uint32_t(TokenizerTable::DecodeSteps)].length % sizeof(DecodeStep) != 0 || steps > kMaxDecodeSteps)
    return "the decoder has an invalid number of steps";
  bool isFused = false;
  for (uint32_t i = 0; i < steps; ++i) {
    const DecodeStep &step = table<DecodeStep>(TokenizerTable::DecodeSteps)[i];
    if (step.kind > uint32_t(DecodeKind::JoinBlanks) || step.offsetA > data.size() || step.lengthA > data.size() - step.offsetA ||
        step.offsetB > data.size() || step.lengthB > data.size() - step.offsetB)
      return "a step of the decoder has an invalid kind or place";
    const DecodeKind kind = DecodeKind(step.kind);
    if (isFused && kind != DecodeKind::Replace && kind != DecodeKind::Strip && kind != DecodeKind::Fuse)
      return "a step of the decoder needs tokens after they were fused";
    if (kind == DecodeKind::Fuse || kind == DecodeKind::ByteLevel)
      isFused = true;
    const bool needsText = kind == DecodeKind::Replace || kind == DecodeKind::Metaspace || kind == DecodeKind::BpeSuffix ||
                           kind == DecodeKind::Strip;
    const bool isCtc = kind == DecodeKind::Ctc;
    if (((needsText || isCtc) && step.lengthA == 0) || (isCtc && step.count && step.lengthB == 0))
      return "a step of the decoder looks for an empty text";
  }
  return nullptr;
}

int32_t CompiledTokenizer::idOf(std::string_view text) const {
  for (uint32_t i = 0; i < addedCount; ++i)
    if (bytesOf(added[i].id) == text)
      return int32_t(added[i].id);
  const uint32_t id = findToken(text);
  return id < header->size ? int32_t(id) : -1;
}

} // namespace edgecc::text

//===- Tokenizer.h - Encodes and decodes text by compiled tables -------------===//
//
// A tokenizer is a section of bytes (Layout.h) that is used where it lies: open() checks it and copies nothing.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TOKENIZER_TOKENIZER_H
#define EDGECC_RUNTIME_TEXT_TOKENIZER_TOKENIZER_H

#include "runtime/text/Buffer.h"
#include "runtime/text/tokenizer/Layout.h"
#include "runtime/text/tokenizer/Trie.h"
#include "runtime/text/unicode/Automaton.h"
#include "runtime/text/unicode/Normalizer.h"

namespace edgecc::text {

struct TrustRange {
  size_t begin, end; ///< bytes of the text
};

/// Parts of a text that come from a template, not from a user. Special tokens are recognised only inside of them.
class Trust {
public:
  /// Takes ranges in ascending order that do not overlap. They must outlive this object.
  Trust(const TrustRange *ranges, size_t count) : ranges(ranges), count(count) {}
  static Trust all() {
    static constexpr TrustRange kEverything = {0, SIZE_MAX};
    return {&kEverything, 1};
  }
  static Trust none() { return {nullptr, 0}; }

  /// Returns whether every byte of [begin, end) is trusted.
  bool covers(size_t begin, size_t end) const;
  /// Returns whether a byte of [begin, end) is trusted.
  bool touches(size_t begin, size_t end) const;

private:
  size_t firstEndingAfter(size_t position) const;

  const TrustRange *ranges;
  size_t count;
};

struct EncodeOptions {
  bool addSpecial = true; ///< adds what the post-processor puts around a text, such as the begin token
};

/// The result of a recent word, so that it need not be computed again.
struct CachedWord {
  uint64_t text[3];
  uint32_t ids[9];
  uint8_t length; ///< of the text, 0: empty
  uint8_t count;
  uint8_t trusted;
};

/// A symbol of BPE. Symbols of a word form a list.
struct BpeSymbol {
  uint32_t id;
  uint32_t previous, next; ///< indices, or kNoToken
  uint32_t rank, merged;   ///< of the pair with the next symbol; rank kNoToken: no such merge
};

/// The best path of Unigram to one place of the text.
struct UnigramNode {
  double score;
  uint32_t id;
  uint32_t start; ///< where its last token starts, kNoToken: not reached
};

/// Working memory of encode(). It may be used again, by one thread at a time. Its size depends on texts, not on vocabularies.
struct Scratch {
  Buffer<char> valid;            ///< the text with U+FFFD for invalid bytes
  Buffer<uint32_t> validOrigins; ///< places in the text, per byte of `valid`
  Buffer<char> normalized;
  Buffer<uint32_t> origins;        ///< places in `valid`, per byte of `normalized`
  Buffer<char> stages[kMaxStages]; ///< texts that pre-tokenizers have changed
  Buffer<char> unmapped;           ///< a piece in the bytes that GPT-2's alphabet stands for
  Buffer<char> word;               ///< a word, or its start, with what the model puts around it
  Buffer<BpeSymbol> symbols;
  Buffer<uint64_t> heap;
  Buffer<UnigramNode> path;
  Buffer<uint32_t> backwards;
  Buffer<CachedWord> cache;
  const void *cacheOwner = nullptr;
  NormalizerScratch normalizer;
};

class CompiledTokenizer {
public:
  /// Checks the section at `data`, which must be aligned to 8 bytes and outlive this object. Returns null, or a static sentence
  /// that says what is wrong. All other functions need an open tokenizer.
  const char *open(const void *data, size_t size);

  /// Appends the ids of `text` to `ids`. Returns false when memory ran out or the text has 2 GB or more.
  bool encode(std::string_view text, const Trust &trust, const EncodeOptions &options, Scratch &scratch,
              Buffer<int32_t> &ids) const;

  /// Returns the number of ids.
  uint32_t size() const { return header->size; }
  /// Returns the id of an added token or else of a token of the vocabulary with these bytes, or -1.
  int32_t idOf(std::string_view bytes) const;
  /// Returns the bytes of a token, empty if there is no such id. Tokens of bytes are `<0xXX>`; blanks may be U+2581.
  std::string_view bytesOf(uint32_t id) const;
  bool isSpecial(uint32_t id) const { return flagsOf(id) & kTokenSpecial; }
  /// Returns whether decoding joins the bytes of tokens and does nothing else.
  bool decodesBytes() const {
    return count<DecodeStep>(TokenizerTable::DecodeSteps) == 1 &&
           table<DecodeStep>(TokenizerTable::DecodeSteps)->kind == uint32_t(DecodeKind::ByteLevel);
  }
  uint8_t flagsOf(uint32_t id) const { return id < header->symbolCount ? flags[id] : 0; }
  /// Returns ids that the source names, or -1.
  int32_t beginId() const { return int32_t(header->begin); }
  int32_t endId() const { return int32_t(header->end); }
  int32_t unknownId() const { return int32_t(header->unknown); }
  int32_t paddingId() const { return int32_t(header->padding); }

private:
  friend class Decoder;
  friend class Encoder;

  template <typename T> const T *table(TokenizerTable which) const;
  template <typename T> uint32_t count(TokenizerTable which) const;
  std::string_view blob(TokenizerTable which) const;
  const char *checkTables(size_t size) const;
  const char *checkStages();
  const char *checkDecoder() const;
  uint32_t findToken(std::string_view bytes) const;
  const PairSlot *findPair(uint32_t left, uint32_t right) const;

  const TokenizerHeader *header = nullptr;
  const uint32_t *offsets = nullptr;
  const char *bytes = nullptr;
  uint32_t byteCount = 0;
  const uint8_t *flags = nullptr;
  const HashSlot *hash = nullptr;
  uint32_t hashMask = 0;
  const PairSlot *pairs = nullptr;
  uint32_t pairMask = 0;
  const uint32_t *byteSymbols = nullptr, *lastByteSymbols = nullptr;
  const double *scores = nullptr;
  const uint8_t *joins = nullptr;
  Trie pieces, addedRaw, addedNormalized, characterMap, userPieces;
  const AddedToken *added = nullptr;
  uint32_t addedCount = 0;
  const Stage *stages = nullptr;
  uint32_t stageCount = 0;
  Automaton automata[kMaxStages];
  Automaton spaces, wordCharacters;
  Normalizer normalizer;
  bool hasNormalizer = false;
};

template <typename T> const T *CompiledTokenizer::table(TokenizerTable which) const {
  return reinterpret_cast<const T *>(reinterpret_cast<const char *>(header) + header->tables[uint32_t(which)].offset);
}

template <typename T> uint32_t CompiledTokenizer::count(TokenizerTable which) const {
  return header->tables[uint32_t(which)].length / uint32_t(sizeof(T));
}

inline std::string_view CompiledTokenizer::blob(TokenizerTable which) const {
  return {table<char>(which), header->tables[uint32_t(which)].length};
}

inline std::string_view CompiledTokenizer::bytesOf(uint32_t id) const {
  if (id >= header->symbolCount)
    return {};
  const uint32_t begin = offsets[id], end = offsets[id + 1];
  return begin <= end && end <= byteCount ? std::string_view(bytes + begin, end - begin) : std::string_view();
}

inline uint32_t CompiledTokenizer::findToken(std::string_view text) const {
  if (text.size() > header->longestToken)
    return kNoToken;
  const uint32_t wanted = hashBytes(text);
  for (uint32_t i = 0; i < header->hashProbes; ++i) {
    const HashSlot &slot = hash[(wanted + i) & hashMask];
    if (slot.id == kNoToken)
      return kNoToken;
    if (slot.hash == wanted && bytesOf(slot.id) == text)
      return slot.id;
  }
  return kNoToken;
}

inline const PairSlot *CompiledTokenizer::findPair(uint32_t left, uint32_t right) const {
  const uint32_t wanted = hashPair(left, right);
  for (uint32_t i = 0; i < header->pairProbes; ++i) {
    const PairSlot &slot = pairs[(wanted + i) & pairMask];
    if (slot.left == left && slot.right == right)
      return slot.merged < header->symbolCount ? &slot : nullptr;
    if (slot.left == kNoToken)
      return nullptr;
  }
  return nullptr;
}

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TOKENIZER_TOKENIZER_H

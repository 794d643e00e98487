//===- Layout.h - Layout of the tokenizer section ----------------------------===//
//
//   TokenizerHeader, with the place of each table, then the tables, each aligned to 8 bytes.
//
// All integers are little-endian. Large tables are checked by each lookup (an id against the size, a place against the bytes), so
// that opening a section touches the header and the small tables only.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TOKENIZER_LAYOUT_H
#define EDGECC_RUNTIME_TEXT_TOKENIZER_LAYOUT_H

#include <stdint.h>
#include <string.h>
#include <string_view>

namespace edgecc::text {

constexpr char kTokenizerMagic[4] = {'E', 'T', 'O', 'K'};
constexpr uint32_t kTokenizerVersion = 2;
constexpr uint32_t kNoToken = UINT32_MAX;
constexpr uint32_t kMaxTokens = 1u << 24;
constexpr uint32_t kMaxStages = 16;
constexpr uint32_t kMaxDecodeSteps = 16;
constexpr uint32_t kMaxAddedTokens = 1u << 17;
constexpr uint32_t kMaxWrapping = 64; ///< tokens that `addSpecial` puts before or after a text

enum class TokenizerModel : uint32_t { Bpe = 0, Unigram = 1, WordPiece = 2, WordLevel = 3 };

enum TokenizerFlag : uint32_t {
  kByteLevel = 1 << 0,       ///< tokens are bytes: an initial symbol of BPE is a byte, not a character
  kByteFallback = 1 << 1,    ///< a character that is not a token becomes the tokens of its bytes
  kFuseUnknown = 1 << 2,     ///< neighbouring unknown characters become one token
  kIgnoreMerges = 1 << 3,    ///< a pre-token that is a token needs no merges
  kSingleScores = 1 << 4,    ///< Unigram: sums of paths are rounded to f32, as SentencePiece does
  kMappedBytes = 1 << 5,     ///< pieces are in GPT-2's alphabet, the tokens in bytes
  kFirstSpace = 1 << 6,      ///< SentencePiece: each text begins with a dummy space
  kCollapseSpaces = 1 << 7,  ///< SentencePiece: runs of blanks become one, outer ones are dropped
  kPieceSpaces = 1 << 8,     ///< SentencePiece: a blank becomes U+2581
  kPieceNormalizer = 1 << 9, ///< SentencePiece: text is rewritten by the flags above and the character map
  kSplitAtMarks = 1 << 10,   ///< BPE: a piece may be cut before U+2581, but after a byte of `beforeMark`, and as Joins says
};

enum TokenFlag : uint8_t {
  kTokenSpecial = 1 << 0,  ///< recognised in trusted text only, and skipped by decoding on request
  kTokenWhole = 1 << 1,    ///< BPE of the token's own text gives this token and nothing else
  kTokenByte = 1 << 2,     ///< the token is `<0xXX>`
  kTokenUser = 1 << 3,     ///< a user-defined piece of SentencePiece
  kTokenUnknown = 1 << 4,  ///< SentencePiece decodes it to " U+2047 "
  kTokenInternal = 1 << 5, ///< a symbol of merges that is not an id: it is written as its bytes or the unknown token
};

enum class TokenizerTable : uint32_t {
  Offsets,          ///< uint32_t [symbols + 1] into Bytes
  Bytes,            ///< the tokens one after another
  Flags,            ///< uint8_t [symbols] of TokenFlag
  Hash,             ///< HashSlot [power of two]: tokens that the model can produce
  ByteSymbols,      ///< uint32_t [256]: the token of a byte, or kNoToken
  LastByteSymbols,  ///< uint32_t [256]: the token of a byte that ends a word (end_of_word_suffix); empty without a suffix
  Pairs,            ///< PairSlot [power of two]: merges
  Scores,           ///< double [symbols]
  Pieces,           ///< TrieNode: tokens of Unigram
  AddedRaw,         ///< TrieNode: added tokens, found in the text as it is; values are indices into Added
  AddedNormalized,  ///< TrieNode: added tokens, found in normalized text
  Added,            ///< AddedToken
  Spaces,           ///< an automaton of one whitespace character (lstrip, rstrip)
  WordCharacters,   ///< an automaton of one word character (single_word)
  Normalizer,       ///< a normalizer's program
  Stages,           ///< Stage: the pre-tokenizers in order
  StageData,        ///< automata and texts of stages
  Before,           ///< uint32_t: ids in front of a text
  After,            ///< uint32_t: ids after it
  DecodeSteps,      ///< DecodeStep
  DecodeData,       ///< texts of decode steps
  CharacterMap,     ///< TrieNode: SentencePiece's normalization; values are offsets into CharacterMapData
  CharacterMapData, ///< texts that end with a zero byte
  UserPieces,       ///< TrieNode: SentencePiece's user-defined pieces; values are ids
  Prefix,           ///< continuing_subword_prefix
  Suffix,           ///< end_of_word_suffix
  Joins,            ///< bits [65536] or empty, BPE: pairs of bytes, first << 8 | second, that meet inside of a token
  Count
};

struct TablePlace {
  uint32_t offset; ///< from the start of the section, a multiple of 8
  uint32_t length; ///< in bytes
};

struct TokenizerHeader {
  char magic[4];
  uint32_t version;
  uint32_t model;                        ///< a TokenizerModel
  uint32_t flags;                        ///< of TokenizerFlag
  uint32_t size;                         ///< number of ids
  uint32_t symbolCount;                  ///< size and the internal symbols after it
  uint32_t unknown, begin, end, padding; ///< ids, or kNoToken
  uint32_t hashProbes, pairProbes;       ///< slots that a lookup reads at most
  uint32_t longestToken;                 ///< in bytes
  uint32_t longestWord;                  ///< WordPiece: max_input_chars_per_word
  double unknownScore;                   ///< Unigram: the score of an unknown character
  double longestScore;                   ///< Unigram: the highest score, for user-defined pieces
  uint8_t beforeMark[32];                ///< bits: bytes that come before U+2581 in a token
  uint8_t addedFirst[2][32];             ///< bits: bytes that begin an added token, in the text as it is and in normalized text
  TablePlace tables[uint32_t(TokenizerTable::Count)];
};

struct HashSlot {
  uint32_t hash;
  uint32_t id; ///< kNoToken: empty
};

struct PairSlot {
  uint32_t left, right; ///< kNoToken: empty
  uint32_t rank;        ///< lower ranks merge first
  uint32_t merged;
};

/// A node of a trie over bytes. The child for byte b is node `base ^ b`, if its `parent` is this node. Node 0 is the root.
struct TrieNode {
  uint32_t base;
  uint32_t parent;
  uint32_t value; ///< kNoToken: no key ends here
};

struct AddedToken {
  uint32_t id;
  uint32_t flags; ///< of AddedFlag
};
enum AddedFlag : uint32_t { kAddedSpecial = 1, kAddedLeftStrip = 2, kAddedRightStrip = 4, kAddedSingleWord = 8 };

enum class StageKind : uint32_t {
  Split,       ///< by `behavior` at what the automaton matches
  Metaspace,   ///< blanks become the text; the text is put in front by `behavior`; then splits before the text if `split`
  PrefixSpace, ///< a blank in front of a piece that begins with none
  MapBytes,    ///< bytes become characters of GPT-2's alphabet: later stages see those
};
enum class SplitBehavior : uint32_t { Isolated, Removed, Contiguous, MergedWithPrevious, MergedWithNext };
enum class PrependScheme : uint32_t { Never, First, Always };

struct Stage {
  uint32_t kind;
  uint32_t behavior; ///< a SplitBehavior or PrependScheme
  uint32_t invert;   ///< Split: what does not match is the match; Metaspace: 1 splits
  uint32_t offset;   ///< into StageData: an automaton, aligned to 8, or a text
  uint32_t length;
};

enum class DecodeKind : uint32_t {
  Replace,      ///< text A becomes text B in each token, or in the whole after Fuse
  Metaspace,    ///< text A becomes a blank; the first token loses it if `count`
  WordPiece,    ///< a blank before a token that does not begin with A; if `count`, blanks before punctuation go
  BpeSuffix,    ///< text A becomes a blank, and nothing in the last token
  ByteFallback, ///< tokens `<0xXX>` become bytes; a run of them that is not UTF-8 becomes U+FFFD a byte
  Strip,        ///< up to `count` times A goes at the start and `countEnd` times at the end of each token, or of the whole
  Ctc,          ///< repeated tokens and the padding A go; B becomes a blank; if `count`, blanks before punctuation go
  Fuse,         ///< from here on all tokens are one text
  ByteLevel,    ///< tokens are bytes of one text
  JoinBlanks,   ///< a blank between two tokens (a file without a decoder)
};

struct DecodeStep {
  uint32_t kind;
  uint32_t count, countEnd;
  uint32_t offsetA, lengthA; ///< into DecodeData
  uint32_t offsetB, lengthB;
};

/// Hashes a token or word.
inline uint32_t hashBytes(std::string_view bytes) {
  const char *at = bytes.data();
  size_t left = bytes.size();
  uint64_t hash = 0x9E3779B97F4A7C15u ^ left;
  for (; left >= 8; left -= 8, at += 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  }
  uint64_t word = 0;
  for (size_t i = 0; i < left; ++i)
    word |= uint64_t(uint8_t(at[i])) << (8 * i);
  hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
  hash ^= hash >> 32;
  hash *= 0xD6E8FEB86659FD93u;
  return uint32_t(hash >> 32);
}

/// Hashes a pair of tokens.
inline uint32_t hashPair(uint32_t left, uint32_t right) {
  uint64_t hash = (uint64_t(left) << 32 | right) * 0x9E3779B97F4A7C15u;
  hash ^= hash >> 29;
  return uint32_t((hash * 0xD6E8FEB86659FD93u) >> 32);
}

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TOKENIZER_LAYOUT_H

//===- Description.h - A tokenizer before it becomes tables ------------------===//
//
// All readers of source files produce a TokenizerDescription; writeTokenizer() turns it into the section that the phone reads.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_TEXT_TOKENIZER_DESCRIPTION_H
#define EDGECC_COMPILER_TEXT_TOKENIZER_DESCRIPTION_H

#include "runtime/text/tokenizer/Layout.h"

#include <map>
#include <string>
#include <vector>

namespace edgecc::text {

struct TokenizerDescription {
  struct Token {
    std::string bytes; ///< as decoded
    double score = 0;
    uint8_t flags = 0;    ///< of TokenFlag
    bool inModel = false; ///< the model may produce it
  };
  struct Merge {
    uint32_t left, right, rank, merged;
  };
  struct Added {
    std::string content;
    uint32_t id = 0;
    bool isSpecial = false, stripsLeft = false, stripsRight = false, isSingleWord = false, isNormalized = false;
  };
  struct PreTokenizer {
    StageKind kind;
    uint32_t behavior = 0;
    bool invert = false;
    std::string data = {}; ///< an automaton or a text
  };
  struct DecoderStep {
    DecodeKind kind;
    uint32_t count = 0, countEnd = 0;
    std::string a = {}, b = {};
  };

  TokenizerModel model = TokenizerModel::Bpe;
  uint32_t flags = 0;          ///< of TokenizerFlag
  std::vector<Token> tokens;   ///< by id
  std::vector<Token> internal; ///< symbols of merges that are not ids; they follow the tokens
  std::vector<Merge> merges;
  std::vector<Added> added;
  std::string normalizer; ///< the normalizer's program, or ""
  std::vector<PreTokenizer> preTokenizers;
  std::vector<uint32_t> before, after;
  std::vector<DecoderStep> decoder;
  std::map<std::string, std::string> characterMap; ///< SentencePiece
  uint32_t unknown = kNoToken, begin = kNoToken, end = kNoToken, padding = kNoToken;
  std::string prefix, suffix;
  uint32_t longestWord = 100;
  double unknownScore = 0, longestScore = 0;
};

/// Returns the bytes of the tokenizer section, or "" with a sentence in `error`.
std::string writeTokenizer(TokenizerDescription description, std::string &error);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TOKENIZER_DESCRIPTION_H

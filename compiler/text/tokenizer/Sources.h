//===- Sources.h - Readers of tokenizer files --------------------------------===//
#ifndef EDGECC_COMPILER_TEXT_TOKENIZER_SOURCES_H
#define EDGECC_COMPILER_TEXT_TOKENIZER_SOURCES_H

#include "compiler/text/tokenizer/Description.h"

#include <nlohmann/json.hpp>
#include <string_view>

namespace edgecc::text {

/// A character of a word as Rust's regex crate has it, which HF tokenizers uses for `\\w`: beside Oniguruma's, letters that are
/// numbers or symbols, and joiners.
constexpr const char *kWordCharacter =
    R"([\w\p{Nl}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}])";

/// Why a source cannot be compiled: a sentence without the name of the file. Readers throw it; compileTokenizer() catches it.
struct Refusal {
  std::string sentence;
};

/// Settings that lie in files beside the tokenizer's.
struct Companions {
  nlohmann::json config;     ///< tokenizer_config.json
  nlohmann::json special;    ///< special_tokens_map.json
  nlohmann::json generation; ///< generation_config.json
  nlohmann::json model;      ///< config.json
};

/// Reads the contents of a tokenizer.json.
TokenizerDescription readHuggingFace(const nlohmann::json &root);
/// Sets begin, end, unknown and padding ids, and adds tokens that only the companions name.
void applyCompanions(TokenizerDescription &description, const Companions &companions);
/// Returns the contents of a tokenizer.json with the same meaning as vocab.json and merges.txt, or vocab.txt.
nlohmann::json fromVocabularyAndMerges(nlohmann::json vocabulary, std::string_view merges, const Companions &companions);
nlohmann::json fromVocabularyText(std::string_view vocabulary, const Companions &companions);

/// Reads a SentencePiece model.
TokenizerDescription readSentencePiece(std::string_view bytes);
/// Reads lines of `base64 rank`. `pattern` is a name that knownPattern() knows, or a regular expression.
TokenizerDescription readTiktoken(std::string_view bytes, const std::string &pattern);
TokenizerDescription readTekken(const nlohmann::json &root);
/// Reads the vocabulary in the metadata of a GGUF file.
TokenizerDescription readGguf(std::string_view bytes);
/// Reads a llama2.c tok*.bin.
TokenizerDescription readLlama2c(std::string_view bytes);
/// Returns whether `bytes` are a llama2.c vocabulary to the last one.
bool isLlama2c(std::string_view bytes);

/// Returns the bytes that a text in GPT-2's alphabet stands for, or false if a character is not of the alphabet.
bool unmapBytes(std::string_view text, std::string &bytes);
/// Compiles a pattern or throws a Refusal that begins with `where`.
std::string compileOrRefuse(std::string_view pattern, const std::string &where, bool isFancy);
/// Returns text with a backslash before each character that has a meaning in patterns.
std::string escapePattern(std::string_view text);
/// Adds all merges that a vocabulary whose ranks order the tokens allows: of two tokens whose joined bytes are a token.
void addMergesByRank(TokenizerDescription &description, const std::vector<uint32_t> &rankOf);
/// Sets up a SentencePiece vocabulary of BPE whose merges are ordered by the scores of the tokens.
void addMergesByScore(TokenizerDescription &description);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TOKENIZER_SOURCES_H

//===- Tokenizer.h - Text to ids and back -----------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TOKENIZER_H
#define EDGECC_RUNTIME_TEXT_TOKENIZER_H

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace edgecc::text {

class Tokenizer {
public:
  virtual ~Tokenizer() = default;

  /// With the token that begins a text in front, if the vocabulary has one.
  virtual std::vector<int64_t> encode(std::string_view text) const = 0;
  /// The bytes that `id` adds after `previous` (-1: none): possibly a part of a character, or nothing for control tokens.
  virtual std::string decode(int64_t previous, int64_t id) const = 0;
  virtual int64_t size() const = 0;
  /// Tokens that end a text. The beginning of another one does, too.
  virtual std::vector<int64_t> ends() const = 0;

  /// A llama2.c tok*.bin or a SentencePiece model, told apart by their contents; null with a sentence in `error`.
  static std::unique_ptr<Tokenizer> parse(std::string_view bytes, std::string &error);
  static std::unique_ptr<Tokenizer> open(const std::string &path, std::string &error);
};

/// Bytes that are a llama2.c vocabulary to the last one, else null.
std::unique_ptr<Tokenizer> parseLlama2c(std::string_view bytes);
/// Null with a sentence; always so in a build without libsentencepiece.
std::unique_ptr<Tokenizer> parseSentencePiece(std::string_view bytes, std::string &error);

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TOKENIZER_H

//===- Tokenizer.h - Text to ids and back, for programs ----------------------===//
//
// What programs on a host use: the compiled tokenizer of tokenizer/Tokenizer.h, with its memory, and with its source compiled
// first where the program was built with the compiler's text library.
//
//===----------------------------------------------------------------------===//
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

  /// Returns the ids of a text, with the tokens that the tokenizer puts around it. Special tokens are not recognised in it.
  virtual std::vector<int64_t> encode(std::string_view text) const = 0;
  /// Returns the bytes that `id` adds after `previous` (-1: none): possibly a part of a character, or nothing for special tokens.
  virtual std::string decode(int64_t previous, int64_t id) const = 0;
  virtual int64_t size() const = 0;
  /// Returns the tokens that end a text. The beginning of another one does, too.
  virtual std::vector<int64_t> ends() const = 0;

  /// Opens a compiled tokenizer, or a source without companions. Null with a sentence in `error`.
  static std::unique_ptr<Tokenizer> parse(std::string_view bytes, std::string &error);
  /// Opens a file or directory: a compiled tokenizer, or any source that compileTokenizer() takes.
  static std::unique_ptr<Tokenizer> open(const std::string &path, std::string &error);
};

/// Compiles the source at `path`, or if that is empty the source in `bytes`. A program without the compiler's text library
/// refuses.
bool compileTokenizerSource(const std::string &path, std::string_view bytes, std::string &section, std::string &error);

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TOKENIZER_H

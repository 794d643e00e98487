#include "runtime/text/Tokenizer.h"

#include <fstream>
#include <iterator>

namespace edgecc::text {

std::unique_ptr<Tokenizer> Tokenizer::parse(std::string_view bytes, std::string &error) {
  if (std::unique_ptr<Tokenizer> tokenizer = parseLlama2c(bytes))
    return tokenizer;
  return parseSentencePiece(bytes, error);
}

std::unique_ptr<Tokenizer> Tokenizer::open(const std::string &path, std::string &error) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    error = path + ": cannot be opened";
    return nullptr;
  }
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::unique_ptr<Tokenizer> tokenizer = parse(bytes, error);
  if (!tokenizer)
    error = path + ": " + error;
  return tokenizer;
}

} // namespace edgecc::text

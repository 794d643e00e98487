//===- CompileForPrograms.cpp - Lets programs take tokenizer sources ---------===//
#include "compiler/text/tokenizer/Tokenizers.h"
#include "runtime/text/Tokenizer.h"

namespace edgecc::text {

bool compileTokenizerSource(const std::string &path, std::string_view bytes, std::string &section, std::string &error) {
  return path.empty() ? compileTokenizerBytes(bytes, {}, section, error) : compileTokenizer(path, {}, section, error);
}

} // namespace edgecc::text

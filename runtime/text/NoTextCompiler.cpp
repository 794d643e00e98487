//===- NoTextCompiler.cpp - Programs without the compiler's text library -----===//
#include "runtime/text/Tokenizer.h"

namespace edgecc::text {

bool compileTokenizerSource(const std::string &path, std::string_view, std::string &, std::string &error) {
  error = (path.empty() ? std::string() : path + ": ") +
          "is no compiled tokenizer, and this program cannot compile one: run `edgecc-tokenize compile SOURCE -o FILE` where the "
          "compiler is";
  return false;
}

} // namespace edgecc::text

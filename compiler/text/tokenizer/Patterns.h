//===- Patterns.h - Pre-tokenizers that are known by name --------------------===//
#ifndef EDGECC_COMPILER_TEXT_TOKENIZER_PATTERNS_H
#define EDGECC_COMPILER_TEXT_TOKENIZER_PATTERNS_H

#include <string>
#include <string_view>
#include <vector>

namespace edgecc::text {

/// A family of tiktoken vocabularies: the files hold ranks only.
struct TiktokenFamily {
  std::string pattern;
  std::vector<std::string> special; ///< in the order of their ids, which follow the ranks
  bool isPadded = false;            ///< ids of special tokens are `specialIds`, not those after the ranks
  std::vector<uint32_t> specialIds;
  std::string begin, end; ///< special tokens, or ""
};

/// Finds a family by name: gpt2, cl100k, o200k, llama3, llama4, qwen. Returns false if there is no such name.
bool findTiktokenFamily(std::string_view name, TiktokenFamily &family);

/// Returns the pre_tokenizer of a tokenizer.json for a GGUF `tokenizer.ggml.pre`, or "" if the name is not known. `normalizer`
/// becomes its normalizer, `ignoresMerges` whether a pre-token that is a token needs no merges, `addsBegin` whether the begin
/// token comes first unless the file says otherwise.
std::string findPreTokenizer(std::string_view name, std::string &normalizer, bool &ignoresMerges, bool &addsBegin);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TOKENIZER_PATTERNS_H

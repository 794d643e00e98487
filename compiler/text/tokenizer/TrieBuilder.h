//===- TrieBuilder.h - Puts keys into the trie that the phone walks ----------===//
#ifndef EDGECC_COMPILER_TEXT_TOKENIZER_TRIEBUILDER_H
#define EDGECC_COMPILER_TEXT_TOKENIZER_TRIEBUILDER_H

#include "runtime/text/tokenizer/Layout.h"

#include <map>
#include <string>
#include <vector>

namespace edgecc::text {

/// Returns the nodes of a trie of `keys` with their values; none if there are no keys. The empty key is left out.
std::vector<TrieNode> buildTrie(const std::map<std::string, uint32_t> &keys);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TOKENIZER_TRIEBUILDER_H

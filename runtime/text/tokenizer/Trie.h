//===- Trie.h - Finds the keys that a text begins with -----------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TOKENIZER_TRIE_H
#define EDGECC_RUNTIME_TEXT_TOKENIZER_TRIE_H

#include "runtime/text/tokenizer/Layout.h"

#include <stddef.h>

namespace edgecc::text {

/// A trie in memory that somebody else owns. Every step checks its own bounds, so nodes need no verification.
class Trie {
public:
  Trie() = default;
  Trie(const TrieNode *nodes, uint32_t count) : nodes(nodes), count(count) {}

  bool empty() const { return count == 0; }
  /// Returns the child of `node` for `byte`, or 0.
  uint32_t step(uint32_t node, uint8_t byte) const {
    const uint32_t child = nodes[node].base ^ byte;
    return child < count && nodes[child].parent == node ? child : 0;
  }
  uint32_t value(uint32_t node) const { return nodes[node].value; }

  /// Finds the longest key that starts at `from`. Returns its value and sets `end`, or returns kNoToken.
  uint32_t longest(std::string_view text, size_t from, size_t &end) const {
    uint32_t found = kNoToken;
    if (count == 0)
      return found;
    for (uint32_t node = 0; from < text.size();) {
      node = step(node, uint8_t(text[from++]));
      if (node == 0)
        break;
      if (nodes[node].value != kNoToken) {
        found = nodes[node].value;
        end = from;
      }
    }
    return found;
  }

private:
  const TrieNode *nodes = nullptr;
  uint32_t count = 0;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TOKENIZER_TRIE_H

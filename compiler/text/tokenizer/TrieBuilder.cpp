//===- TrieBuilder.cpp - Puts keys into the trie that the phone walks --------===//
//
// Source: Aoe 1989, double arrays; children lie at `base ^ byte`, so those of one node share a block of 256 nodes.
//
//===----------------------------------------------------------------------===//
#include "compiler/text/tokenizer/TrieBuilder.h"

#include <algorithm>

namespace edgecc::text {
namespace {

constexpr uint32_t kBlock = 256;
constexpr uint32_t kOpenBlocks = 24; ///< the last blocks that are searched for room

class Builder {
public:
  explicit Builder(const std::map<std::string, uint32_t> &keys) {
    for (const auto &[key, value] : keys)
      if (!key.empty())
        sorted.emplace_back(&key, value);
    if (sorted.empty())
      return;
    addBlock();
    nodes[0].parent = kNoToken - 1; // taken
    free[0] -= 1;
    place(0, 0, sorted.size(), 0);
    nodes[0].parent = kNoToken;
  }
  std::vector<TrieNode> nodes;

private:
  void addBlock() {
    nodes.resize(nodes.size() + kBlock, {0, kNoToken, kNoToken});
    free.push_back(kBlock);
  }

  /// Returns a base at which all children have room. `labels` are their bytes.
  uint32_t findBase(const std::vector<uint8_t> &labels) {
    const uint32_t blocks = uint32_t(free.size());
    for (uint32_t block = blocks > kOpenBlocks ? blocks - kOpenBlocks : 0; block < blocks; ++block) {
      if (free[block] < labels.size())
        continue;
      for (uint32_t low = 0; low < kBlock; ++low) {
        const uint32_t base = block * kBlock + low;
        if (std::all_of(labels.begin(), labels.end(), [&](uint8_t label) { return nodes[base ^ label].parent == kNoToken; }))
          return base;
      }
    }
    addBlock();
    return blocks * kBlock;
  }

  /// Places the children of `node`, which stands for the first `depth` bytes of the keys [first, last).
  void place(uint32_t node, size_t first, size_t last, size_t depth) {
    if (first < last && sorted[first].first->size() == depth)
      nodes[node].value = sorted[first++].second;
    if (first == last)
      return;
    std::vector<uint8_t> labels;
    for (size_t i = first; i < last; ++i) {
      const uint8_t label = uint8_t((*sorted[i].first)[depth]);
      if (labels.empty() || labels.back() != label)
        labels.push_back(label);
    }
    const uint32_t base = findBase(labels);
    nodes[node].base = base;
    for (uint8_t label : labels)
      nodes[base ^ label].parent = node;
    free[base / kBlock] -= uint32_t(labels.size());
    for (size_t i = first; i < last;) {
      const uint8_t label = uint8_t((*sorted[i].first)[depth]);
      size_t end = i;
      while (end < last && uint8_t((*sorted[end].first)[depth]) == label)
        ++end;
      place(base ^ label, i, end, depth + 1);
      i = end;
    }
  }

  std::vector<std::pair<const std::string *, uint32_t>> sorted;
  std::vector<uint32_t> free; ///< nodes without a parent, by block
};

} // namespace

std::vector<TrieNode> buildTrie(const std::map<std::string, uint32_t> &keys) { return Builder(keys).nodes; }

} // namespace edgecc::text

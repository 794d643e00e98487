//===- LanguageModel.h - Tokens in, logits out ------------------------------===//
//
// Why its own: how a compiled language model is driven (which entry for how many tokens, which inputs it still has)
// is one thing, what is written with it another.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_LANGUAGEMODEL_H
#define EDGECC_RUNTIME_TEXT_LANGUAGEMODEL_H

#include "edgecc/edgecc.hpp"
#include "runtime/text/Speculation.h"

#include <string>
#include <vector>

namespace edgecc::text {

class LanguageModel : public DraftingModel {
public:
  LanguageModel(const Model &model, Session &session) : model(model.handle()), session(session.handle()) {}

  /// Finds the entries `prefill` and `decode`, or takes `entry`, or the model's first. "" or why they are no language model.
  std::string find(const std::string &entry);

  /// Feeds the tokens after those fed before, at most `chunk` per call (0: as many as the model takes); `logits` are of the last.
  std::string feed(const std::vector<int64_t> &tokens, uint32_t chunk, std::vector<float> &logits);

  /// As feed, with the logits [tokens, vocabulary] of all. For the entry `score`, or one that takes a token, or has no cache.
  std::string score(const std::vector<int64_t> &tokens, std::vector<float> &logits);

  /// Forgets what was fed.
  void reset();

  int64_t vocabulary() const { return vocabularySize; }
  /// Tokens that there is room for.
  int64_t context() const { return entries[0].advances ? edgecc_session_context(session) : entries[0].longest; }

  /// From now on `draft` ends at this exit. "" or why that cannot be verified.
  std::string draftAt(size_t exit);
  std::string draft(int64_t token, std::vector<float> &logits, float &confidence) override;
  std::string verify(const std::vector<int64_t> &tokens, std::vector<std::vector<float>> &logits) override;
  std::string forget(size_t positions) override;

  /// How often calls of one token ended after so many layers, [layers + 1].
  const std::vector<uint64_t> &depths() const { return depthCounts; }

private:
  struct Entry {
    size_t index = 0, tokens = 0, logits = 0;
    edgecc_type tokenType = EDGECC_I64;
    uint32_t tokenRank = 2;
    int64_t shortest = 1, longest = 1;
    bool advances = false;
    std::string name;
  };
  std::string describe(size_t index, Entry &entry);
  template <typename Read> std::string feedPieces(const std::vector<int64_t> &tokens, uint32_t chunk, Read read);
  std::string call(const Entry &entry, const int64_t *tokens, int64_t count);
  std::string setIntegers(const Entry &entry, size_t input, const edgecc_tensor_info &tensor, std::vector<int64_t> values);
  std::string readLogits(const Entry &entry, size_t rows, std::vector<float> &logits) const;
  std::string forceExit(int64_t exit);

  edgecc_model *model;
  edgecc_session *session;
  std::vector<Entry> entries;      ///< the one for most tokens first
  std::vector<int64_t> everything; ///< for an entry without a cache, which takes all tokens each time
  int64_t vocabularySize = 0;
  size_t draftExit = 0;
  Entry rest; ///< goes on behind draftExit
  std::vector<uint64_t> depthCounts;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_LANGUAGEMODEL_H

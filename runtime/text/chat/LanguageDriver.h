//===- LanguageDriver.h - Tokens in, logits out ------------------------------===//
//
// Calls a compiled language model: it picks the entry for a number of tokens, sets the inputs that exporters add, and reads
// logits.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_CHAT_LANGUAGEDRIVER_H
#define EDGECC_RUNTIME_TEXT_CHAT_LANGUAGEDRIVER_H

#include "edgecc/edgecc.h"
#include "runtime/text/Buffer.h"

namespace edgecc::text {

class LanguageDriver {
public:
  LanguageDriver(edgecc_model *model, edgecc_session *session) : model(model), session(session) {}

  /// Finds the entries `prefill` and `decode`; with `name` the entry of this name; or the model's first entry.
  edgecc_status find(const char *name, edgecc_error *error);

  /// Feeds tokens after those fed before, at most `chunk` per call (0: as many as the model takes). `logits` [vocabulary] are
  /// those of the last token. `isCancelled` (may be null) is read between calls; feeding then stops early with EDGECC_OK and no
  /// logits.
  edgecc_status feed(const int32_t *tokens, size_t count, uint32_t chunk, Buffer<float> &logits, const bool *isCancelled,
                     edgecc_error *error);
  /// Feeds tokens like feed(). `logits` [count, vocabulary] are those of all tokens. The entry must give them (`score`), take one
  /// token per call, or have no cache.
  edgecc_status score(const int32_t *tokens, size_t count, Buffer<float> &logits, edgecc_error *error);
  /// Forgets all tokens.
  void reset();
  /// Forgets the tokens after the first `count`.
  edgecc_status rewind(size_t count, edgecc_error *error);

  /// Number of tokens that were fed.
  size_t position() const;
  int64_t vocabulary() const { return vocabularySize; }
  /// Number of tokens that there is room for.
  int64_t context() const { return entries[0].advances ? edgecc_session_context(session) : entries[0].longest; }

  /// An entry that takes tokens and gives logits.
  struct Entry {
    size_t index = 0, tokens = 0, logits = 0; ///< of the entry in the model, and of the input and output in the entry
    int64_t shortest = 1, longest = 1;        ///< tokens per call
    bool advances = false;
    const char *name = "";
  };
  /// The entry that takes the fewest tokens per call.
  const Entry &smallest() const { return entries[entryCount - 1]; }
  /// Fills `entry` with what the model says about its entry `index`.
  edgecc_status describe(size_t index, Entry &entry, edgecc_error *error);
  /// Calls an entry with `count` tokens and appends the logits [rows, vocabulary] of the last `rows` of them.
  edgecc_status run(const Entry &entry, const int32_t *tokens, size_t count, size_t rows, Buffer<float> &logits,
                    edgecc_error *error);
  /// How many calls of one token ended after how many layers, [layers + 1]. Empty for a model without exits.
  const Buffer<uint64_t> &depths() const { return depthCounts; }

private:
  enum class Rows { Last, All };
  edgecc_status feedParts(const int32_t *tokens, size_t count, uint32_t chunk, Rows rows, Buffer<float> &logits,
                          const bool *isCancelled, edgecc_error *error);
  edgecc_status call(const Entry &entry, const int32_t *tokens, size_t count, edgecc_error *error);
  edgecc_status readLogits(const Entry &entry, size_t rows, Buffer<float> &logits, edgecc_error *error) const;
  edgecc_status countDepth(edgecc_error *error);
  edgecc_status setIntegers(const Entry &entry, size_t input, const edgecc_tensor_info &tensor, edgecc_error *error);

  edgecc_model *model;
  edgecc_session *session;
  Entry entries[2]; ///< the one for most tokens first
  size_t entryCount = 0;
  Buffer<int32_t> everything; ///< for an entry without a cache, which takes all tokens each time
  Buffer<int64_t> values;     ///< of the input that is being set
  Buffer<int32_t> narrow;
  Buffer<uint64_t> depthCounts;
  int64_t vocabularySize = 0;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_CHAT_LANGUAGEDRIVER_H

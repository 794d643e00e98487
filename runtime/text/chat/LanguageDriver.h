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
  /// Forgets all tokens.
  void reset();
  /// Forgets the tokens after the first `count`.
  edgecc_status rewind(size_t count, edgecc_error *error);

  /// Number of tokens that were fed.
  size_t position() const;
  int64_t vocabulary() const { return vocabularySize; }
  /// Number of tokens that there is room for.
  int64_t context() const { return entries[0].advances ? edgecc_session_context(session) : entries[0].longest; }

private:
  struct Entry {
    size_t index = 0, tokens = 0, logits = 0;
    edgecc_type tokenType = EDGECC_I64;
    int64_t shortest = 1, longest = 1;
    bool advances = false;
    const char *name = "";
  };
  edgecc_status describe(size_t index, Entry &entry, edgecc_error *error);
  edgecc_status call(const Entry &entry, const int32_t *tokens, size_t count, edgecc_error *error);
  edgecc_status setIntegers(const Entry &entry, size_t input, const edgecc_tensor_info &tensor, edgecc_error *error);
  edgecc_status readLogits(const Entry &entry, Buffer<float> &logits, edgecc_error *error) const;

  edgecc_model *model;
  edgecc_session *session;
  Entry entries[2]; ///< the one for most tokens first
  size_t entryCount = 0;
  Buffer<int32_t> everything; ///< for an entry without a cache, which takes all tokens each time
  Buffer<int64_t> values;     ///< of the input that is being set
  Buffer<int32_t> narrow;
  int64_t vocabularySize = 0;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_CHAT_LANGUAGEDRIVER_H

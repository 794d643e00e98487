//===- LanguageModel.h - Tokens in, logits out, for programs ------------------===//
//
// Programs on a host use this class. It offers the driver of chat/LanguageDriver.h with std::vector and std::string, and
// drafts that end at an exit.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_LANGUAGEMODEL_H
#define EDGECC_RUNTIME_TEXT_LANGUAGEMODEL_H

#include "edgecc/edgecc.hpp"
#include "runtime/text/Speculation.h"
#include "runtime/text/chat/LanguageDriver.h"

#include <string>
#include <vector>

namespace edgecc::text {

/// Functions return "" or a sentence that says what is wrong.
class LanguageModel : public DraftingModel {
public:
  LanguageModel(const Model &model, Session &session)
      : model(model.handle()), session(session.handle()), driver(model.handle(), session.handle()) {}

  /// Finds the entries `prefill` and `decode`; with `entry` the entry of this name; or the model's first entry.
  std::string find(const std::string &entry);

  /// Feeds tokens after those fed before, at most `chunk` per call (0: as many as the model takes). `logits` [vocabulary] are
  /// those of the last token.
  std::string feed(const std::vector<int64_t> &tokens, uint32_t chunk, std::vector<float> &logits);

  /// Feeds tokens like feed(). `logits` [tokens, vocabulary] are those of all tokens. The entry must give them (`score`), take
  /// one token per call, or have no cache.
  std::string score(const std::vector<int64_t> &tokens, std::vector<float> &logits);

  /// Forgets all tokens.
  void reset() { driver.reset(); }

  int64_t vocabulary() const { return driver.vocabulary(); }
  /// Number of tokens that there is room for.
  int64_t context() const { return driver.context(); }

  /// Lets `draft` end at this exit from now on. Fails where the model cannot verify such drafts.
  std::string draftAt(size_t exit);
  std::string draft(int64_t token, std::vector<float> &logits, float &confidence) override;
  std::string verify(const std::vector<int64_t> &tokens, std::vector<std::vector<float>> &logits) override;
  std::string forget(size_t positions) override;

  /// How many calls of one token ended after how many layers, [layers + 1]. Empty for a model without exits.
  const Buffer<uint64_t> &depths() const { return driver.depths(); }

private:
  /// Copies `tokens` into `ids`. Returns the first token that is no id of the vocabulary, as a sentence.
  std::string narrow(const std::vector<int64_t> &tokens);
  std::string forceExit(int64_t exit);

  edgecc_model *model;
  edgecc_session *session;
  LanguageDriver driver;
  LanguageDriver::Entry rest; ///< continues behind draftExit
  size_t draftExit = 0;
  Buffer<int32_t> ids;
  Buffer<float> read;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_LANGUAGEMODEL_H

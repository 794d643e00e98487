//===- Speculation.h - Early exits draft, the whole model decides -----------===//
//
// The first layers of a model draft a few tokens, the others look at all of them in one batch, and what they do not agree with is
// taken back (self-speculative decoding: Elhoushi 2024). Drafts are accepted so that the text is distributed as the whole model's
// own (Leviathan 2023); greedy, it is the same text.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_SPECULATION_H
#define EDGECC_RUNTIME_TEXT_SPECULATION_H

#include "runtime/text/chat/Sampler.h"

#include <string>
#include <vector>

namespace edgecc::text {

/// A session whose calls can end at an exit. Functions return "" or what went wrong.
class DraftingModel {
public:
  virtual ~DraftingModel();
  /// The first layers on the next token: the exit's logits, and how sure it is.
  virtual std::string draft(int64_t token, std::vector<float> &logits, float &confidence) = 0;
  /// The remaining layers on the last tokens that were drafted: the logits after each of them.
  virtual std::string verify(const std::vector<int64_t> &tokens, std::vector<std::vector<float>> &logits) = 0;
  /// Forgets the last positions.
  virtual std::string forget(size_t positions) = 0;
};

class Speculation {
public:
  /// At most `most` drafts in a row; none after one that was less sure than `leastSure`.
  Speculation(Sampler &sampler, uint32_t most, float leastSure) : sampler(sampler), most(most), leastSure(leastSure) {}

  /// Appends to `history`, whose last token the model has not seen yet, one token or more.
  std::string next(DraftingModel &model, std::vector<int64_t> &history);

  uint64_t drafted = 0, accepted = 0, verified = 0; ///< tokens, tokens, batches

private:
  Sampler &sampler;
  uint32_t most;
  float leastSure;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_SPECULATION_H

#include "runtime/text/Speculation.h"

#include <algorithm>

namespace edgecc::text {

DraftingModel::~DraftingModel() = default;

static double shareOf(const Choice &choice, int64_t token) {
  const auto found = std::find(choice.tokens.begin(), choice.tokens.end(), uint32_t(token));
  return found == choice.tokens.end() ? 0 : choice.weights[size_t(found - choice.tokens.begin())] / choice.sum;
}

/// What the whole model would say more often than the draft.
static Choice rest(Choice whole, const Choice &draft) {
  std::vector<double> drafted;
  for (size_t i = 0; i < draft.tokens.size(); ++i) {
    if (draft.tokens[i] >= drafted.size())
      drafted.resize(draft.tokens[i] + 1);
    drafted[draft.tokens[i]] = draft.weights[i] / draft.sum;
  }
  Choice more;
  for (size_t i = 0; i < whole.tokens.size(); ++i) {
    const uint32_t token = whole.tokens[i];
    const double share = whole.weights[i] / whole.sum - (token < drafted.size() ? drafted[token] : 0);
    if (share <= 0)
      continue;
    more.tokens.push(token);
    more.weights.push(share);
    more.sum += share;
  }
  // Rounding can leave nothing where the two are the same.
  if (more.tokens.empty())
    return whole;
  return more;
}

std::string Speculation::next(DraftingModel &model, std::vector<int64_t> &history) {
  std::vector<int64_t> seen = history, given;
  std::vector<Choice> drafts;
  std::vector<float> logits;
  while (drafts.size() < most) {
    float confidence = 0;
    if (std::string fault = model.draft(seen.back(), logits, confidence); !fault.empty()) {
      // The context may be full with what there is; then that is verified.
      if (drafts.empty())
        return fault;
      break;
    }
    given.push_back(seen.back());
    drafts.push_back(sampler.choice(logits, seen));
    seen.push_back(sampler.draw(drafts.back()));
    if (confidence < leastSure)
      break;
  }
  std::vector<std::vector<float>> whole;
  if (std::string fault = model.verify(given, whole); !fault.empty())
    return fault;
  drafted += drafts.size();
  ++verified;
  const size_t start = history.size();
  for (size_t i = 0; i < drafts.size(); ++i) {
    const int64_t token = seen[start + i];
    Choice choice = sampler.choice(whole[i], history);
    const double share = shareOf(choice, token), draftShare = shareOf(drafts[i], token);
    const bool certain = share >= draftShare;
    if (certain || sampler.uniform() * draftShare < share) {
      history.push_back(token);
      ++accepted;
      continue;
    }
    history.push_back(sampler.draw(rest(std::move(choice), drafts[i])));
    return model.forget(drafts.size() - i - 1);
  }
  return "";
}

} // namespace edgecc::text

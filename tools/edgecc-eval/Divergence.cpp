// How far a model's distributions are from the text's tokens and from the reference's distributions.
#include "tools/edgecc-eval/Eval.h"

#include <algorithm>
#include <cmath>

namespace edgecc::tools {
namespace {

/// One row of logits: the logarithm of the sum of its exponentials, and its likeliest token.
struct Row {
  const float *logits;
  double logSum;
  size_t likeliest;

  Row(const float *logits, size_t vocabulary)
      : logits(logits), likeliest(size_t(std::max_element(logits, logits + vocabulary) - logits)) {
    double sum = 0;
    for (size_t i = 0; i < vocabulary; ++i)
      sum += std::exp(double(logits[i]) - logits[likeliest]);
    logSum = std::log(sum) + logits[likeliest];
  }
  double loss(int64_t token) const { return logSum - logits[token]; }
};

double divergence(const Row &from, const Row &to, size_t vocabulary) {
  double sum = 0;
  for (size_t i = 0; i < vocabulary; ++i) {
    const double p = from.logits[i] - from.logSum;
    sum += std::exp(p) * (p - (to.logits[i] - to.logSum));
  }
  return std::max(sum, 0.0);
}

class Divergence {
public:
  Divergence(Compiled &model, Compiled *reference)
      : model(model), reference(reference), vocabulary(size_t(model.scoring->vocabulary())) {}

  std::string add(const Window &window);
  Json result();

private:
  Compiled &model, *reference;
  size_t vocabulary;
  std::vector<float> logits, expected;
  std::vector<double> divergences;
  size_t count = 0, same = 0;
  double loss = 0, referenceLoss = 0, squares = 0;
};

std::string Divergence::add(const Window &window) {
  const std::vector<int64_t> &tokens = window.tokens;
  model.scoring->reset();
  if (reference)
    reference->scoring->reset();
  // In pieces, so that the logits of a large vocabulary and a long window stay few megabytes.
  const size_t piece = std::max<size_t>((size_t(1) << 24) / vocabulary, 1);
  for (size_t begin = 0; begin + 1 < tokens.size(); begin += piece) {
    const size_t end = std::min(begin + piece, tokens.size() - 1);
    const std::vector<int64_t> some(tokens.begin() + ptrdiff_t(begin), tokens.begin() + ptrdiff_t(end));
    if (std::string fault = model.scoring->score(some, logits); !fault.empty())
      return fault;
    if (std::string fault = reference ? reference->scoring->score(some, expected) : ""; !fault.empty())
      return "the reference: " + fault;
    for (size_t i = window.first > begin + 1 ? window.first - begin - 1 : 0; i < some.size(); ++i, ++count) {
      const int64_t next = tokens[begin + i + 1];
      const Row row(logits.data() + i * vocabulary, vocabulary);
      if (!std::isfinite(row.logSum))
        return "the logits after token " + std::to_string(begin + i) + " of a window are not finite";
      loss += row.loss(next);
      if (!reference)
        continue;
      const Row right(expected.data() + i * vocabulary, vocabulary);
      referenceLoss += right.loss(next);
      squares += std::pow(row.loss(next) - right.loss(next), 2);
      same += row.likeliest == right.likeliest;
      divergences.push_back(divergence(right, row, vocabulary));
    }
  }
  return "";
}

Json Divergence::result() {
  const double n = double(count), nll = loss / n, before = referenceLoss / n;
  Json json = {{"tokens", count}, {"nll", nll}, {"perplexity", std::exp(nll)}};
  if (!reference)
    return json;
  double sum = 0;
  for (double d : divergences)
    sum += d;
  const auto percentile = divergences.begin() + ptrdiff_t(double(count - 1) * 0.99);
  std::nth_element(divergences.begin(), percentile, divergences.end());
  json["reference_nll"] = before;
  json["reference_perplexity"] = std::exp(before);
  json["nll_increase"] = nll / before - 1;
  // Of the mean difference: both met the same tokens.
  json["nll_difference_error"] = std::sqrt(std::max(squares / n - (nll - before) * (nll - before), 0.0) / n);
  json["kl_mean"] = sum / n;
  json["kl_p99"] = *percentile;
  json["agreement"] = double(same) / n;
  return json;
}

} // namespace

std::string measureDivergence(const Windows &windows, Compiled &model, Compiled *reference, Json &result) {
  Divergence divergence(model, reference);
  Progress progress("windows", windows.windows.size());
  for (const Window &window : windows.windows) {
    if (std::string fault = divergence.add(window); !fault.empty())
      return fault;
    progress.step();
  }
  result = divergence.result();
  return "";
}

} // namespace edgecc::tools

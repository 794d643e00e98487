//===- Trials.cpp - What samples say of an exit -------------------------------===//
#include "passes/earlyexit/Trials.h"
#include "dialects/edge/Shape.h"
#include "passes/earlyexit/Maps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <numeric>

using namespace mlir;
namespace edgecc::earlyexit {
namespace {

double marginOf(ArrayRef<float> logits) {
  int64_t top = likeliest(logits);
  double sum = 0, next = 0;
  for (auto [i, logit] : llvm::enumerate(logits)) {
    double weight = std::exp(double(logit) - logits[top]);
    sum += weight;
    if (int64_t(i) != top)
      next = std::max(next, weight);
  }
  return (1 - next) / sum;
}

double certaintyOf(ArrayRef<float> logits) {
  float highest = logits[likeliest(logits)];
  double sum = 0, mean = 0;
  for (float logit : logits) {
    double shifted = std::max(double(logit) - highest, -100.0);
    sum += std::exp(shifted);
    mean += std::exp(shifted) * shifted;
  }
  return 1 - (std::log(sum) - mean / sum) / std::log(double(logits.size()));
}

double cosineOf(ArrayRef<float> a, ArrayRef<float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (auto [x, y] : llvm::zip(a, b))
    ab += double(x) * y, aa += double(x) * x, bb += double(y) * y;
  return ab / std::sqrt(aa * bb);
}

} // namespace

int64_t likeliest(ArrayRef<float> logits) { return std::max_element(logits.begin(), logits.end()) - logits.begin(); }

double surenessOf(edge::ExitConfidence confidence, ArrayRef<Observed> exit, int64_t row) {
  double sure = confidence == edge::ExitConfidence::State     ? cosineOf(exit[1].row(row), exit[2].row(row))
                : confidence == edge::ExitConfidence::Entropy ? certaintyOf(exit[0].row(row))
                                                              : marginOf(exit[0].row(row));
  return sure > 0 ? sure : 0;
}

double boundOf(double wrong, double count) {
  constexpr double z = 1.6449;
  double share = wrong / count, middle = share + z * z / (2 * count);
  return (middle + z * std::sqrt(share * (1 - share) / count + z * z / (4 * count * count))) / (1 + z * z / count);
}

llvm::Error checkDecisions(int64_t decisions, double agreement) {
  int64_t least = int64_t(std::ceil(3 / (1 - std::min(agreement, 0.9999))));
  if (decisions >= least)
    return llvm::Error::success();
  return llvm::createStringError("--exit-agreement=" + Twine(llvm::formatv("{0}", agreement).str()) + ": the samples have " +
                                 Twine(decisions) + " calls to judge by; at least " + Twine(least) + " are needed");
}

bool isForTrials(size_t sample, size_t samples) { return samples < 2 || !isForMaps(sample, samples); }

llvm::Expected<Trials> tryExits(Calibrator &calibrator, ArrayRef<TrialValues> exits, Value logits,
                                edge::ExitConfidence confidence, bool each) {
  bool byState = confidence == edge::ExitConfidence::State;
  SmallVector<Value> values{logits};
  for (const TrialValues &exit : exits) {
    values.push_back(exit.logits);
    if (byState)
      values.append({exit.hidden, exit.before});
  }
  size_t stride = byState ? 3 : 1;
  // Logits and hidden states are both by sequences.
  Value hidden = exits.front().hidden;
  bool isBatch = cast<RankedTensorType>(hidden.getType()).getRank() > 2 && !edge::shapeOf(logits).empty() &&
                 edge::shapeOf(logits).front() == edge::shapeOf(hidden).front();
  Trials trials;
  trials.exits.resize(exits.size());
  auto add = [&](size_t sample, ArrayRef<Observed> seen) -> llvm::Error {
    if (!isForTrials(sample, calibrator.samples()))
      return llvm::Error::success();
    int64_t prompt = calibrator.promptOf(sample), first = std::max<int64_t>(prompt - 1, 0);
    TriedText text{sample, trials.said.size(), 0, seen[0].rows()};
    // Behind an answer nobody asks.
    for (int64_t i = first; each && i < text.tokens - (prompt > 0); ++i)
      if (seen[0].counts(i)) {
        trials.said.push_back(likeliest(seen[0].row(i)));
        trials.token.push_back(i);
      }
    text.end = trials.said.size();
    if (each && text.begin < text.end)
      trials.texts.push_back(text);
    for (auto [e, trial] : llvm::enumerate(trials.exits)) {
      ArrayRef<Observed> own = seen.slice(1 + e * stride, stride);
      if (each) {
        for (size_t i = text.begin; i < text.end; ++i) {
          trial.confidence.push_back(float(surenessOf(confidence, own, trials.token[i])));
          trial.agrees.push_back(likeliest(own[0].row(trials.token[i])) == trials.said[i]);
        }
        continue;
      }
      // A classifier has a row of logits for all the rows of hidden states of a sequence.
      int64_t sequences = isBatch ? seen[0].shape.front() : 1;
      for (int64_t sequence = 0; sequence < sequences; ++sequence) {
        auto all = [&](const Observed &value, auto &&look) {
          int64_t rows = value.rows() / sequences;
          for (int64_t i = sequence * rows; i < (sequence + 1) * rows; ++i)
            if (value.counts(i))
              look(i);
        };
        double least = 1;
        bool agrees = true;
        int64_t counted = 0;
        all(own.back(), [&](int64_t i) { least = std::min(least, surenessOf(confidence, own, i)), ++counted; });
        // It only fills up the batch.
        if (counted == 0)
          continue;
        all(own[0], [&](int64_t i) { agrees &= likeliest(own[0].row(i)) == likeliest(seen[0].row(i)); });
        trial.confidence.push_back(float(least));
        trial.agrees.push_back(agrees);
      }
    }
    return llvm::Error::success();
  };
  std::string kind = ("trials of exits by " + edge::stringifyExitConfidence(confidence) + (each ? ", each" : "")).str();
  if (llvm::Error error = calibrator.gather("exits", values, kind, [&](Archive &archive) { archive(trials); }, add))
    return error;
  return trials;
}

Schedule schedule(ArrayRef<const Trial *> trials, ArrayRef<unsigned> layers, unsigned count, double agreement, double headCost) {
  Schedule result;
  result.decisions = trials.front()->confidence.size();
  std::vector<size_t> here(result.decisions);
  std::iota(here.begin(), here.end(), 0);
  for (auto [trial, layer] : llvm::zip(trials, layers)) {
    result.cost += headCost * here.size();
    llvm::stable_sort(here, [&](size_t a, size_t b) { return trial->confidence[a] > trial->confidence[b]; });
    size_t taken = 0, right = 0, wrong = 0;
    double threshold = 1;
    for (size_t i = 0; i < here.size(); ++i) {
      wrong += !trial->agrees[here[i]];
      // Those that are equally sure go together.
      bool isLast = i + 1 == here.size() || trial->confidence[here[i + 1]] < trial->confidence[here[i]];
      if (!isLast || boundOf(wrong, i + 1) > 1 - agreement)
        continue;
      taken = i + 1, right = i + 1 - wrong;
      threshold = trial->confidence[here[i]];
    }
    result.thresholds.push_back(threshold);
    std::vector<float> &sure = result.sure.emplace_back();
    for (size_t i = 0; i < taken; ++i)
      sure.push_back(trial->confidence[here[i]]);
    result.taken.push_back(taken);
    result.right.push_back(right);
    result.layers += double(taken) * layer;
    // Its head is the one that would have come at the end.
    result.cost += double(taken) * (layer - headCost);
    here.erase(here.begin(), here.begin() + taken);
  }
  result.layers = (result.layers + double(here.size()) * count) / result.decisions;
  result.cost = (result.cost + double(here.size()) * count) / result.decisions;
  return result;
}

} // namespace edgecc::earlyexit

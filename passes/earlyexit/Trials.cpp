//===- Trials.cpp - What samples say of an exit -------------------------------===//
#include "passes/earlyexit/Trials.h"
#include "passes/calibrate/Statistics.h"
#include "llvm/ADT/STLExtras.h"
#include <Eigen/Cholesky>
#include <numeric>

using namespace mlir;
namespace edgecc::earlyexit {
namespace {

/// Maps are fitted on one half of the samples, thresholds on the other: what was learned by heart must not look sure.
bool isForMaps(size_t sample, size_t samples) { return samples < 2 || sample % 2 == 0; }

/// Sums of the least squares from [x, 1] to y - x.
struct Normal {
  Eigen::MatrixXd xx, xy;
  int64_t tokens = 0;

  void add(const RowMatrix &x, const RowMatrix &y) {
    RowMatrix wide(x.rows(), x.cols() + 1);
    wide << x, RowMatrix::Ones(x.rows(), 1);
    Eigen::MatrixXd more = (wide.transpose() * wide).cast<double>(), cross = (wide.transpose() * (y - x)).cast<double>();
    xx = tokens ? Eigen::MatrixXd(xx + more) : more;
    xy = tokens ? Eigen::MatrixXd(xy + cross) : cross;
    tokens += x.rows();
  }

  ExitMap solve() const {
    int64_t width = xx.rows() - 1;
    // A little less than the data say where they say little: directions that hardly occur.
    Eigen::MatrixXd damped = xx;
    damped.diagonal().head(width).array() += 1e-4 * xx.diagonal().head(width).mean();
    Eigen::MatrixXd solution = damped.ldlt().solve(xy); // [width + 1, width]
    ExitMap map;
    map.weight.resize(width * width);
    map.bias.resize(width);
    for (int64_t n = 0; n < width; ++n) {
      for (int64_t k = 0; k < width; ++k)
        map.weight[n * width + k] = float(solution(k, n) + (n == k));
      map.bias[n] = float(solution(width, n));
    }
    return map;
  }
};

int64_t likeliest(ArrayRef<float> logits) { return std::max_element(logits.begin(), logits.end()) - logits.begin(); }

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

/// The largest share of wrong ones that so many wrong of so many may stand for (Wilson's bound, one side, 90 %).
double boundOf(double wrong, double count) {
  constexpr double z = 1.2816;
  double share = wrong / count, middle = share + z * z / (2 * count);
  return (middle + z * std::sqrt(share * (1 - share) / count + z * z / (4 * count * count))) / (1 + z * z / count);
}

} // namespace

llvm::Expected<std::vector<ExitMap>> fitMaps(Calibrator &calibrator, ArrayRef<Value> hidden, Value last) {
  std::vector<Normal> sums(hidden.size());
  SmallVector<Value> values(hidden);
  values.push_back(last);
  auto add = [&](size_t sample, ArrayRef<Observed> seen) -> llvm::Error {
    if (!isForMaps(sample, calibrator.samples()))
      return llvm::Error::success();
    RowMatrix target = tokenRows(seen.back());
    for (auto [sum, value] : llvm::zip(sums, seen.drop_back()))
      sum.add(tokenRows(value), target);
    return llvm::Error::success();
  };
  if (llvm::Error error = calibrator.observe("exits", values, add))
    return error;
  std::vector<ExitMap> maps;
  for (const Normal &sum : sums) {
    if (sum.tokens < 2 * sum.xx.rows())
      return llvm::createStringError(
          "--exit-map=affine: the samples have %lld tokens to fit a map of %lld channels on; give more "
          "than %lld, or say --exit-map=none",
          static_cast<long long>(sum.tokens), static_cast<long long>(sum.xx.rows() - 1),
          static_cast<long long>(2 * sum.xx.rows()));
    maps.push_back(sum.solve());
  }
  return maps;
}

llvm::Expected<std::vector<Trial>> tryExits(Calibrator &calibrator, ArrayRef<TrialValues> exits, Value logits,
                                            edge::ExitConfidence confidence, bool each) {
  bool byState = confidence == edge::ExitConfidence::State;
  SmallVector<Value> values{logits};
  for (const TrialValues &exit : exits) {
    values.push_back(exit.logits);
    if (byState)
      values.append({exit.hidden, exit.before});
  }
  size_t stride = byState ? 3 : 1;
  std::vector<Trial> trials(exits.size());
  auto add = [&](size_t sample, ArrayRef<Observed> seen) -> llvm::Error {
    if (calibrator.samples() > 1 && isForMaps(sample, calibrator.samples()))
      return llvm::Error::success();
    for (auto [e, trial] : llvm::enumerate(trials)) {
      const Observed &own = seen[1 + e * stride];
      double least = 1;
      bool all = true;
      size_t next = trial.confidence.size();
      auto decide = [&](double sure, bool agrees) {
        least = std::min(least, sure > 0 ? sure : 0.0);
        all &= agrees;
        if (!each)
          return;
        trial.confidence.push_back(float(least));
        trial.agrees.push_back(all);
        least = 1, all = true;
      };
      // A classifier has a row of logits for all the rows of its hidden states.
      for (int64_t i = 0; i < own.rows(); ++i)
        if (own.counts(i))
          decide(byState                                       ? 1
                 : confidence == edge::ExitConfidence::Entropy ? certaintyOf(own.row(i))
                                                               : marginOf(own.row(i)),
                 likeliest(own.row(i)) == likeliest(seen[0].row(i)));
      if (byState) {
        const Observed &after = seen[2 + e * stride], &before = seen[3 + e * stride];
        for (int64_t i = 0; i < after.rows(); ++i) {
          if (!after.counts(i))
            continue;
          double cosine = std::max(cosineOf(after.row(i), before.row(i)), 0.0);
          if (each)
            trial.confidence[next++] = float(cosine);
          else
            least = std::min(least, cosine);
        }
      }
      if (!each) {
        trial.confidence.push_back(float(least));
        trial.agrees.push_back(all);
      }
    }
    return llvm::Error::success();
  };
  if (llvm::Error error = calibrator.observe("exits", values, add))
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

//===- Samples.h - Repeated measurements ------------------------------------===//
//
// Why medians: a shared machine gives outliers to one side only, and a mean would report the neighbours.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_TOOLS_BENCH_SAMPLES_H
#define EDGECC_TOOLS_BENCH_SAMPLES_H

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

namespace edgecc::tools {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

inline double secondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class Samples {
public:
  void add(double value) { values.push_back(value); }
  bool empty() const { return values.empty(); }
  double median() const { return quantile(0.5); }

  /// By linear interpolation; 0 without samples.
  double quantile(double share) const {
    if (values.empty())
      return 0;
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const double place = share * double(sorted.size() - 1);
    const size_t below = size_t(place), above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (place - double(below)) * (sorted[above] - sorted[below]);
  }

  /// Half the distance of the quartiles over the median.
  double spread() const { return median() > 0 ? (quantile(0.75) - quantile(0.25)) / 2 / median() : 0; }

  Json json() const {
    return {{"median", median()}, {"low", quantile(0.25)}, {"high", quantile(0.75)}, {"best", quantile(0)}, {"samples", values}};
  }

private:
  std::vector<double> values;
};

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_BENCH_SAMPLES_H

//===- Spread.cpp -----------------------------------------------------------===//
#include "passes/prune/Spread.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <cmath>

namespace edgecc::prune {

std::vector<int64_t> choices(const Offer &offer) {
  std::vector<int64_t> list{0};
  for (int64_t kept = (offer.units - 1) / offer.round * offer.round; kept >= std::max(offer.floor, offer.round);
       kept -= offer.round)
    list.push_back(offer.units - kept);
  return list;
}

std::vector<int64_t> spreadByLoss(llvm::ArrayRef<Offer> offers, int64_t total) {
  std::vector<std::vector<int64_t>> lists;
  for (const Offer &offer : offers)
    lists.push_back(choices(offer));
  std::vector<size_t> at(offers.size(), 0);
  auto lost = [&](size_t layer, int64_t gone) { return gone == 0 ? 0.0 : offers[layer].lost[gone - 1]; };
  int64_t gone = 0;
  while (gone < total) {
    size_t best = offers.size();
    double least = INFINITY;
    for (size_t layer = 0; layer < offers.size(); ++layer) {
      if (at[layer] + 1 == lists[layer].size())
        continue;
      int64_t from = lists[layer][at[layer]], to = lists[layer][at[layer] + 1];
      double slope = (lost(layer, to) - lost(layer, from)) / double(to - from);
      if (slope < least)
        least = slope, best = layer;
    }
    if (best == offers.size())
      break;
    int64_t step = lists[best][at[best] + 1] - lists[best][at[best]];
    // The last step may miss by more than none would; the first is always taken.
    if (gone > 0 && gone + step - total > total - gone)
      break;
    ++at[best];
    gone += step;
  }
  std::vector<int64_t> result;
  for (auto [list, i] : llvm::zip(lists, at))
    result.push_back(list[i]);
  return result;
}

std::vector<int64_t> spreadEvenly(llvm::ArrayRef<Offer> offers, int64_t total) {
  int64_t units = 0;
  for (const Offer &offer : offers)
    units += offer.units;
  std::vector<int64_t> result;
  double owed = 0;
  for (const Offer &offer : offers) {
    owed += double(total) * double(offer.units) / double(units);
    std::vector<int64_t> list = choices(offer);
    auto nearest = llvm::min_element(list, [&](int64_t a, int64_t b) { return std::abs(a - owed) < std::abs(b - owed); });
    result.push_back(*nearest);
    owed -= double(*nearest);
  }
  return result;
}

std::vector<int64_t> spreadToSave(llvm::ArrayRef<Offer> offers, int64_t least) {
  std::vector<std::vector<int64_t>> lists;
  for (const Offer &offer : offers)
    lists.push_back(choices(offer));
  std::vector<size_t> at(offers.size(), 0);
  int64_t sum = 0;
  /// What the step of a layer to another of its choices adds.
  auto saves = [&](size_t layer, size_t to) { return offers[layer].saved[to] - offers[layer].saved[at[layer]]; };
  auto loses = [&](size_t layer, size_t to) {
    auto lost = [&](size_t choice) { return choice == 0 ? 0.0 : offers[layer].lost[lists[layer][choice] - 1]; };
    return lost(to) - lost(at[layer]);
  };
  /// The step with the least of a figure, among those that have one.
  auto take = [&](llvm::function_ref<double(size_t layer, size_t to)> figure) {
    size_t best = offers.size(), target = 0;
    double lowest = INFINITY;
    for (size_t layer = 0; layer < offers.size(); ++layer)
      for (size_t to = 0; to < lists[layer].size(); ++to)
        if (double value = figure(layer, to); value < lowest)
          lowest = value, best = layer, target = to;
    if (best == offers.size())
      return false;
    sum += saves(best, target);
    at[best] = target;
    return true;
  };
  // Not the next choice alone: panels are filled up, so that some steps save nothing.
  while (sum < least && take([&](size_t layer, size_t to) {
    return to > at[layer] && saves(layer, to) > 0 ? loses(layer, to) / double(saves(layer, to)) : INFINITY;
  }))
    continue;
  while (sum >= least && take([&](size_t layer, size_t to) {
    return to < at[layer] && sum + saves(layer, to) >= least ? loses(layer, to) : INFINITY;
  }))
    continue;
  std::vector<int64_t> result;
  for (auto [list, i] : llvm::zip(lists, at))
    result.push_back(list[i]);
  return result;
}

} // namespace edgecc::prune

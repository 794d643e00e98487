//===- Sweep.cpp ------------------------------------------------------------===//
#include "passes/prune/Sweep.h"
#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/Matrices.h"
#include "passes/prune/Sharing.h"
#include "passes/prune/SplitLinears.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/Format.h"

using namespace mlir;
namespace edgecc::prune {
namespace {

/// Second moments of several layers that are held at the same time.
constexpr int64_t kMemory = int64_t(1) << 30;

/// What the projection's output is added to in the end: behind it all ops that only it leads to.
Value streamBehind(edge::LinearOp projection) {
  Value value = projection.getResult();
  while (value.hasOneUse() && isa<linalg::GenericOp, edge::ReshapeOp>(*value.user_begin()))
    value = value.user_begin()->getResult(0);
  return value;
}

/// The smallest share of each kind of part that saves enough.
std::vector<int64_t> evenlyToSave(ArrayRef<Site> sites, ArrayRef<Offer> offers, int64_t least) {
  constexpr int64_t kShares = 1024;
  llvm::MapVector<StringRef, std::vector<size_t>> kinds;
  for (auto [i, site] : llvm::enumerate(sites))
    kinds[site.part.name].push_back(i);
  std::vector<int64_t> counts(sites.size(), 0);
  int64_t saved = 0;
  for (int64_t share = 1; share <= kShares && saved < least; ++share) {
    saved = 0;
    for (auto &[kind, members] : kinds) {
      std::vector<Offer> own;
      int64_t units = 0;
      for (size_t i : members) {
        own.push_back(offers[i]);
        units += offers[i].units;
      }
      for (auto [i, offer, count] : llvm::zip(members, own, spreadEvenly(own, units * share / kShares))) {
        std::vector<int64_t> list = choices(offer);
        saved += offer.saved[llvm::find(list, count) - list.begin()];
        counts[i] = count;
      }
    }
  }
  return counts;
}

} // namespace

std::string shortText(double number) {
  std::string result;
  llvm::raw_string_ostream(result) << llvm::format("%.4g", number);
  return result;
}

LogicalResult reported(ModuleOp module, llvm::Error error, StringRef before) {
  if (!error)
    return success();
  return module.emitError() << before << llvm::toString(std::move(error));
}

int64_t Site::bytes() const {
  int64_t sum = 0;
  auto add = [&](edge::LinearOp linear) { sum += plainBytes(linear.getWeight()); };
  add(projections.front());
  llvm::for_each(makers, add);
  return sum;
}

SmallVector<edge::LinearOp> makersOf(ArrayRef<edge::LinearOp> linears) {
  llvm::MapVector<Attribute, edge::LinearOp> byWeight;
  for (edge::LinearOp linear : linears)
    byWeight.insert({weightOf(linear), linear});
  return llvm::to_vector(llvm::make_second_range(byWeight));
}

llvm::Expected<Sweep> Sweep::create(const SweepOptions &options, Calibrator *calibrator) {
  StringRef importance = options.importance, compensation = options.compensation, spread = options.spread;
  auto method = importanceOf(importance);
  auto rest = compensationOf(compensation);
  if (!method || !rest)
    return llvm::createStringError("no such importance or compensation: '" + importance + "', '" + compensation +
                                   "'; there are surgeon, flap, wanda, magnitude, and least-squares, bias, none");
  if (spread != "global" && spread != "even")
    return llvm::createStringError("no such spread: '" + spread + "'; there are global and even");
  if (!calibrator && (*method != Importance::Magnitude || *rest != Compensation::None))
    return llvm::createStringError(
        "pruning looks at what flows through the model: give it samples with --calibrate FILE (text, .ids or .npz), or look at "
        "weights alone with --prune-method=magnitude --prune-compensate=none");
  Sweep sweep;
  sweep.importance = *method;
  sweep.compensation = *rest;
  // Norms of weights of different layers say nothing of each other.
  sweep.evenly = spread == "even" || *method == Importance::Magnitude;
  sweep.share = options.share;
  sweep.goal = options.goal;
  sweep.calibrator = calibrator;
  return sweep;
}

static std::vector<Offer> offersOf(ArrayRef<Site> sites) {
  std::vector<Offer> offers;
  for (const Site &site : sites)
    offers.push_back({site.units(), site.floor(), site.round, {}, {}});
  return offers;
}

llvm::Expected<int64_t> Sweep::countOf(ArrayRef<Site> sites) const {
  StringRef what = sites.front().part.plural;
  if (!(share > 0 && share < 1))
    return llvm::createStringError("pruning: a share of the " + what + " is above 0 and below 1, not " + shortText(share));
  int64_t units = 0, most = 0;
  for (const Offer &offer : offersOf(sites)) {
    units += offer.units;
    most += choices(offer).back();
  }
  auto total = std::max<int64_t>(1, std::llround(share * double(units)));
  if (total > most)
    return llvm::createStringError("pruning: " + shortText(share) + " of " + std::to_string(units) + " " + what + " are " +
                                   std::to_string(total) + ", but only " + std::to_string(most) +
                                   " can go: each layer keeps a quarter of its own, in steps of " +
                                   std::to_string(sites.front().round));
  return total;
}

llvm::Error Sweep::check(ArrayRef<Site> sites) const {
  // With a goal it may be that nothing goes.
  if (goal)
    return llvm::Error::success();
  if (auto count = countOf(sites); !count)
    return count.takeError();
  for (const Site &site : sites) {
    int64_t tokens = 0;
    for (edge::LinearOp projection : site.projections)
      tokens += calibrator ? calibrator->tokensOf(projection.getInput()).value_or(site.inputs()) : site.inputs();
    if (llvm::Error error = checkTokens(site, tokens))
      return error;
  }
  return llvm::Error::success();
}

llvm::Expected<std::vector<int64_t>> Sweep::divide(ArrayRef<Site> sites) {
  std::vector<Offer> offers = offersOf(sites);
  if (goal)
    return divideByGoal(sites, std::move(offers));
  auto total = countOf(sites);
  if (!total)
    return total.takeError();
  if (evenly)
    return spreadEvenly(offers, *total);
  if (llvm::Error error = weigh(sites, offers))
    return error;
  return spreadByLoss(offers, *total);
}

llvm::Expected<std::vector<int64_t>> Sweep::divideByGoal(ArrayRef<Site> sites, std::vector<Offer> offers) {
  auto wanted = goal(sites);
  if (!wanted)
    return wanted.takeError();
  int64_t most = 0, excess = wanted->whole - wanted->allowed;
  for (auto [site, offer] : llvm::zip(sites, offers)) {
    int64_t now = wanted->cost(site, offer.units);
    std::vector<int64_t> list = choices(offer);
    for (int64_t gone : list)
      offer.saved.push_back(now - wanted->cost(site, offer.units - gone));
    // What is too small to be quantized takes more than what is larger.
    auto best = llvm::max_element(offer.saved);
    offer.floor = offer.units - list[best - offer.saved.begin()];
    most += *best;
    offer.saved.erase(best + 1, offer.saved.end());
  }
  if (excess <= 0) {
    emitRemark(sites.front().start->getLoc())
        << "nothing is pruned: there are " << wanted->whole << " " << wanted->unit << ", and " << wanted->allowed << " may be";
    return std::vector<int64_t>(sites.size(), 0);
  }
  if (excess > most)
    return llvm::createStringError("pruning: " + std::to_string(wanted->allowed) + " " + wanted->unit +
                                   " cannot be reached: if each layer keeps a quarter of what can go, it is " +
                                   std::to_string(wanted->whole - most) + ", " +
                                   shortText(double(wanted->whole - most) / double(wanted->whole)) +
                                   " of what there is; allow as much, or take whole layers, too (--prune layers=1)");
  if (evenly)
    return evenlyToSave(sites, offers, excess);
  if (llvm::Error error = weigh(sites, offers))
    return error;
  return spreadToSave(offers, excess);
}

llvm::Error Sweep::weigh(ArrayRef<Site> sites, MutableArrayRef<Offer> offers) {
  for (size_t first = 0, last = 0; first < sites.size(); first = last) {
    int64_t held = 0;
    do {
      held += sites[last].inputs() * sites[last].inputs() * int64_t(sizeof(float));
      ++last;
    } while (last < sites.size() && held < kMemory);
    std::vector<InputMoments> moments(last - first);
    std::vector<ChannelStatistics> streams(last - first);
    SmallVector<Value> values;
    for (const Site &site : sites.slice(first, last - first))
      for (edge::LinearOp projection : site.projections)
        values.append({projection.getInput(), streamBehind(projection)});
    auto add = [&](size_t, ArrayRef<Observed> observed) {
      size_t next = 0;
      for (size_t i = first; i < last; ++i)
        for (size_t j = 0; j < sites[i].projections.size(); ++j) {
          moments[i - first].add(observed[next++]);
          streams[i - first].add(observed[next++]);
        }
      return llvm::Error::success();
    };
    llvm::Error error = calibrator->gather("weighing layers", values, "moments of projections and streams",
                                           [&](Archive &archive) { archive(moments, streams); }, add);
    if (error)
      return error;
    for (size_t i = first; i < last; ++i) {
      const Site &site = sites[i];
      if (llvm::Error error = checkTokens(site, moments[i - first].tokens()))
        return error;
      RowMatrix weight = readWeight(site.projections.front());
      offers[i].lost =
          rank(weight, &moments[i - first], site.unit, offers[i].floor, importance, compensation, /*norms=*/nullptr).lost;
      // What follows is normalised: an error counts as a part of the stream that it is added to.
      double power = streams[i - first].meanSquare().sum();
      for (double &lost : offers[i].lost)
        lost *= double(site.projections.size()) / std::max(power, 1e-30);
    }
  }
  return llvm::Error::success();
}

llvm::Error Sweep::checkTokens(const Site &site, int64_t tokens) const {
  if (tokens >= site.inputs() || (importance != Importance::Surgeon && compensation != Compensation::LeastSquares))
    return llvm::Error::success();
  return llvm::createStringError("pruning: least squares over the " + std::to_string(site.inputs()) + " channels of '" +
                                 nameOf(site.projections.front()) + "' need as many tokens at least, but the samples have " +
                                 std::to_string(tokens) +
                                 "; give more (--calibrate, --calibrate-samples), or choose --prune-method=flap "
                                 "--prune-compensate=bias");
}

llvm::Expected<Sweep::Decision> Sweep::decide(const Site &site, int64_t count) {
  std::optional<InputMoments> moments;
  if (calibrator) {
    if (llvm::Error error = calibrator->advanceTo(site.start))
      return error;
    SmallVector<Value> values;
    for (edge::LinearOp projection : site.projections)
      values.push_back(projection.getInput());
    moments.emplace();
    auto add = [&](size_t, ArrayRef<Observed> observed) {
      for (const Observed &value : observed)
        moments->add(value);
      return llvm::Error::success();
    };
    llvm::Error error =
        calibrator->gather("pruning", values, "moments of a projection", [&](Archive &archive) { archive(*moments); }, add);
    if (error)
      return error;
    if (llvm::Error error = checkTokens(site, moments->tokens()))
      return error;
  }
  InputMoments *known = moments ? &*moments : nullptr;
  RowMatrix weight = readWeight(site.projections.front());
  Eigen::VectorXf norms;
  if (importance == Importance::Magnitude)
    norms = site.norms();
  Ranking ranking =
      rank(weight, known, site.unit, site.units() - count, importance, compensation, norms.size() ? &norms : nullptr);
  std::vector<bool> isGone(site.units());
  for (int64_t unit : ArrayRef(ranking.order).take_front(count))
    isGone[unit] = true;
  Decision decision;
  std::vector<int64_t> inputs;
  for (int64_t i = 0; i < site.units(); ++i)
    if (!isGone[i]) {
      decision.units.push_back(i);
      for (int64_t j = 0; j < site.unit; ++j)
        inputs.push_back(i * site.unit + j);
    }
  decision.fit = fit(weight, known, inputs, compensation);
  decision.moments = std::move(moments);
  return decision;
}

llvm::Expected<LedgerEntry> Sweep::change(const Site &site, int64_t count) {
  auto decision = decide(site, count);
  if (!decision)
    return decision.takeError();
  const Fit &fit = decision->fit;
  edge::LinearOp projection = site.projections.front();
  LedgerEntry entry;
  entry.weight = weightBehind(projection.getWeight()).getName().str();
  entry.layer = nameOf(projection).str();
  entry.before = site.bytes();
  const int64_t units = site.units();
  auto made = weightLike(projection, fit.weight);
  if (!made)
    return made.takeError();
  ElementsAttr bias;
  bool makesUp = decision->moments && compensation != Compensation::None;
  const InputMoments *inputs = makesUp ? &*decision->moments : nullptr;
  llvm::Error error = site.narrow(decision->units, *made, inputs, [&](edge::LinearOp changed) {
    if (fit.bias.size())
      addBias(changed, fit.bias, bias);
  });
  if (error)
    return error;
  entry.after = site.bytes();
  entry.scheme = ("pruned " + site.part.name + " " + Twine(units) + " to " + Twine(decision->units.size())).str();
  InFlightDiagnostic remark = projection->emitRemark();
  remark << "'" << entry.layer << "': " << decision->units.size() << " of " << units << " " << site.part.plural << " are left, "
         << entry.before << " to " << entry.after << " bytes";
  if (fit.error >= 0) {
    entry.error = fit.error;
    entry.decibels = -20 * std::log10(std::max(fit.error, 1e-9));
    entry.figures["error_uncompensated"] = fit.errorUncompensated;
    remark << ", relative error of the output " << shortText(fit.errorUncompensated) << ", compensated " << shortText(fit.error);
  }
  return entry;
}

llvm::Error Sweep::run(ModuleOp module, ArrayRef<Site> sites) {
  if (llvm::Error error = check(sites))
    return error;
  auto counts = divide(sites);
  if (!counts)
    return counts.takeError();
  if (calibrator)
    calibrator->restart();
  std::vector<LedgerEntry> ledger;
  for (auto [site, count] : llvm::zip(sites, *counts))
    if (count > 0) {
      auto entry = change(site, count);
      if (!entry)
        return entry.takeError();
      ledger.push_back(std::move(*entry));
    }
  if (calibrator)
    calibrator->restart();
  addToLedger(module, ledger);
  eraseUnreadWeights(module);
  return llvm::Error::success();
}

/// Of all kinds of parts, in the function's order; an error if there is none.
static llvm::Expected<std::vector<Site>> sitesOf(ArrayRef<Sites> all) {
  constexpr size_t kShown = 8;
  std::vector<Site> sites;
  std::string missing;
  for (const Sites &found : all) {
    llvm::append_range(sites, found.sites);
    missing += ((missing.empty() ? "pruning found " : "\nand ") + found.part.missing + ":").str();
    for (auto &[op, why] : ArrayRef(found.refused).take_front(kShown))
      missing += ("\n  '" + nameOf(op) + "': " + why).str();
    if (found.refused.empty())
      missing += "\n  " + found.otherwise;
  }
  if (sites.empty())
    return llvm::createStringError(missing);
  llvm::stable_sort(sites, [](const Site &a, const Site &b) { return a.start->isBeforeInBlock(b.start); });
  return sites;
}

using Find = llvm::function_ref<std::vector<Sites>(func::FuncOp)>;

/// Who prunes, and what.
static llvm::Expected<std::pair<Sweep, std::vector<Site>>> prepare(ModuleOp module, const SweepOptions &options,
                                                                   Calibrator *calibrator, Find find, bool remarks) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main)
    return llvm::createStringError("pruning needs the function 'main'");
  auto sweep = Sweep::create(options, calibrator);
  if (!sweep)
    return sweep.takeError();
  if (llvm::Error error = splitLinears(main))
    return error;
  std::vector<Sites> all = find(main);
  for (const Sites &found : all)
    for (auto &[op, why] : found.refused)
      if (remarks)
        op->emitRemark() << found.part.plural << " of '" << nameOf(op) << "' cannot be pruned: " << why;
  auto sites = sitesOf(all);
  if (!sites)
    return sites.takeError();
  return std::make_pair(std::move(*sweep), std::move(*sites));
}

llvm::Error pruneSites(ModuleOp module, const SweepOptions &options, Calibrator *calibrator, Find find) {
  auto prepared = prepare(module, options, calibrator, find, /*remarks=*/true);
  return prepared ? prepared->first.run(module, prepared->second) : prepared.takeError();
}

llvm::Error checkSites(ModuleOp module, const SweepOptions &options, Calibrator *calibrator, Find find) {
  auto prepared = prepare(module, options, calibrator, find, /*remarks=*/false);
  return prepared ? prepared->first.check(prepared->second) : prepared.takeError();
}

} // namespace edgecc::prune

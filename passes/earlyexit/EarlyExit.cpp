//===- EarlyExit.cpp - A sure model need not go on --------------------------===//
//
// After a layer: the head, with the weights it has anyway, how sure it is, and the end of the call if it is sure enough. What the
// skipped layers would have written to their caches is made up for when a later token needs it.
//
//===----------------------------------------------------------------------===//
#include "passes/earlyexit/EarlyExit.h"
#include "passes/earlyexit/Anatomy.h"
#include "passes/earlyexit/Decoding.h"
#include "passes/earlyexit/Exits.h"
#include "passes/earlyexit/Heads.h"
#include "passes/earlyexit/KeptStates.h"
#include "passes/lower/ExitEntries.h"
#include "passes/quantize/Ledger.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_EARLYEXIT
#include "passes/Passes.h.inc"

namespace earlyexit {
namespace {

/// Positions that wait for the skipped layers at most, before their caches are filled: a batch that a matrix kernel likes.
constexpr int64_t kMostPending = 32;

class ExitBuilder {
public:
  ExitBuilder(func::FuncOp function, const Request &request, Calibrator *calibrator)
      : function(function), request(request), calibrator(calibrator) {}

  LogicalResult run();

private:
  LogicalResult fail(const Twine &what) { return emitError(function.getLoc(), "early exit: ") << what; }
  LogicalResult check();
  LogicalResult calibrate();
  struct Choice {
    SmallVector<unsigned> exits; // numbers
    Schedule plan;
  };
  llvm::Expected<bool> settle(Choice &choice, const Trials &trials);
  llvm::Error raiseThresholds(Decoding &decoding, const Trials &trials, Choice &choice, bool &holds);
  LogicalResult choose(const Trials &trials);
  LogicalResult addState(unsigned number);
  LogicalResult addExit(unsigned number);
  void report();

  func::FuncOp function;
  const Request &request;
  Calibrator *calibrator; // null: thresholds are as they were given
  Anatomy anatomy;
  Value target;            // of the heads' maps
  double headCost = 0;     // of the model as it is, without the heads that are tried
  SmallVector<Value> kept; // a state for each exit
  SmallVector<Head> exits;
  SmallVector<edge::ExitPointAttr> points;
};

LogicalResult ExitBuilder::check() {
  auto examined = examine(function, request);
  if (!examined)
    return emitError(function.getLoc()) << llvm::toString(examined.takeError());
  anatomy = std::move(*examined);
  target = targetOf(function, anatomy);
  headCost = costOfHead(function, anatomy.layers, request.confidence, target, request.map);
  for (unsigned layer : anatomy.exits)
    exits.push_back({layer});
  return success();
}

/// exit.hidden.N [1, 1, context, width], behind all other states.
LogicalResult ExitBuilder::addState(unsigned exit) {
  MLIRContext *context = function.getContext();
  auto type = cast<RankedTensorType>(anatomy.layers.hidden[0].getType());
  AffineExpr one = getAffineConstantExpr(1, context);
  auto state = edge::tensorType(
      {one, one, getAffineSymbolExpr(anatomy.cache->capacity, context), getAffineConstantExpr(type.getShape().back(), context)},
      type.getElementType());
  int64_t number = 0;
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    number += bool(function.getArgAttr(i, edge::EdgeDialect::kStateAttr));
  Builder builder(context);
  NamedAttribute index(builder.getStringAttr(edge::EdgeDialect::kStateAttr), builder.getI64IntegerAttr(number));
  std::string element;
  llvm::raw_string_ostream(element) << type.getElementType();
  auto attributes = builder.getDictionaryAttr(
      {index,
       NamedAttribute(builder.getStringAttr(edge::EdgeDialect::kNameAttr),
                      builder.getStringAttr("exit.hidden." + Twine(exits[exit].layer))),
       NamedAttribute(builder.getStringAttr(edge::EdgeDialect::kElementAttr), builder.getStringAttr(element))});
  unsigned results = function.getNumResults();
  if (failed(function.insertArgument(function.getNumArguments(), state, attributes, function.getLoc())) ||
      failed(function.insertResult(results, state, builder.getDictionaryAttr({index}))))
    return failure();
  kept.push_back(function.getArguments().back());
  function.front().getTerminator()->insertOperands(results, kept.back());
  return success();
}

/// Maps, heads and thresholds, from samples.
LogicalResult ExitBuilder::calibrate() {
  SmallVector<TrialValues> values;
  for (Head &exit : exits) {
    if (request.map) {
      // Caches of skipped layers want all states in between.
      unsigned first = anatomy.cache ? exit.layer + 1 : anatomy.layers.count();
      SmallVector<Value> aims(ArrayRef(anatomy.layers.hidden).drop_front(first));
      aims.back() = target;
      auto fitted = fitMaps(*calibrator, exit.input, aims, "exit." + std::to_string(exit.layer), first);
      if (!fitted)
        return fail(llvm::toString(fitted.takeError()));
      exit.maps = std::move(*fitted);
    }
  }
  for (Head &exit : exits) {
    addHead(anatomy.layers, target, anatomy.outputs, exit);
    values.push_back({exit.outputs[anatomy.logits], anatomy.layers.hidden[exit.layer], anatomy.layers.hidden[exit.layer - 1]});
  }
  auto trials =
      tryExits(*calibrator, values, anatomy.outputs[anatomy.logits], request.confidence, /*each=*/anatomy.cache.has_value());
  if (!trials)
    return fail(llvm::toString(trials.takeError()));
  return choose(*trials);
}

/// Thresholds for the exits that were asked for; with `auto`, for those of them that save most.
LogicalResult ExitBuilder::choose(const Trials &trials) {
  std::string agreement = llvm::formatv("{0}", request.agreement);
  size_t decisions = trials.exits.front().confidence.size();
  if (llvm::Error error = checkDecisions(int64_t(decisions), request.agreement))
    return fail(llvm::toString(std::move(error)));
  std::vector<Choice> choices;
  unsigned all = (1u << exits.size()) - 1;
  for (unsigned set = request.isAuto ? 1 : all; set <= all; ++set) {
    Choice choice;
    SmallVector<const Trial *> of;
    SmallVector<unsigned> after;
    for (unsigned i = 0; i < exits.size(); ++i)
      if (set >> i & 1) {
        of.push_back(&trials.exits[i]);
        choice.exits.push_back(i);
        after.push_back(exits[i].layer);
      }
    choice.plan = schedule(of, after, anatomy.layers.count(), request.agreement, headCost);
    choices.push_back(std::move(choice));
  }
  // Caches can only make a choice dearer: the cheapest are looked at first.
  llvm::stable_sort(choices, [](const Choice &a, const Choice &b) { return a.plan.cost < b.plan.cost; });
  const Choice *best = nullptr;
  for (Choice &choice : choices) {
    if (best && choice.plan.cost >= best->plan.cost)
      break;
    if (anatomy.cache) {
      auto holds = settle(choice, trials);
      if (!holds)
        return fail(llvm::toString(holds.takeError()));
      if (!*holds && request.isAuto)
        continue;
    }
    if (!best || choice.plan.cost < best->plan.cost)
      best = &choice;
  }
  if (request.isAuto && (!best || best->plan.cost >= anatomy.layers.count()))
    return fail("--exit-layers=auto: with an agreement of " + agreement +
                " no exit saves what its head costs on these samples; ask for less, or name the layers");
  const Schedule &plan = best->plan;
  SmallVector<Head> taken;
  for (auto [i, number] : llvm::enumerate(best->exits)) {
    Head exit = std::move(exits[number]);
    exit.threshold = plan.thresholds[i];
    double share = 100.0 * plan.taken[i] / decisions, right = 100.0 * plan.right[i] / std::max<size_t>(plan.taken[i], 1);
    exit.measured =
        llvm::formatv("; {0:f1} % of {1} calls do, and {2:f1} % of these say what the whole model says; with all exits "
                      "{3:f2} layers on average",
                      share, decisions, right, plan.layers);
    if (anatomy.cache)
      exit.measured += llvm::formatv(" and {0:f2} % of all calls right", 100.0 * plan.agreeing / decisions);
    taken.push_back(std::move(exit));
  }
  exits = std::move(taken);
  return success();
}

/// Raises the thresholds until calls say what they shall with the caches that such calls leave. False: they never do.
llvm::Expected<bool> ExitBuilder::settle(Choice &choice, const Trials &trials) {
  SmallVector<const Head *> heads;
  for (unsigned number : choice.exits)
    heads.push_back(&exits[number]);
  Decoding decoding = Decoding::prepare(*calibrator, function, anatomy.layers, heads, anatomy.logits,
                                        anatomy.outputs[anatomy.logits], request.confidence);
  // The trials are of the same model and samples as the decoding.
  Archive asked;
  double agreement = request.agreement;
  asked(choice.plan, headCost, agreement);
  bool holds = false;
  auto search = [&] { return raiseThresholds(decoding, trials, choice, holds); };
  if (llvm::Error error = calibrator->remember("thresholds of exits " + asked.digest(), decoding.identity,
                                               [&](Archive &archive) { archive(holds, choice.plan); }, search))
    return error;
  return holds;
}

llvm::Error ExitBuilder::raiseThresholds(Decoding &decoding, const Trials &trials, Choice &choice, bool &holds) {
  const Trial &first = trials.exits[choice.exits.front()];
  const Schedule hoped = choice.plan;
  // The share of the calls that would end early with whole caches: all of them, or half, or ...
  double holding = 0, failing = 2;
  for (double share = 1; failing - holding > 1.0 / 32; share = (holding + failing) / 2) {
    Schedule plan = hoped;
    for (auto [threshold, sure] : llvm::zip(plan.thresholds, plan.sure))
      if (!sure.empty())
        threshold = sure[size_t(std::ceil(share * double(sure.size()))) - 1];
    if (llvm::Error error = decoding.run(trials, first, headCost, plan))
      return error;
    holds = boundOf(double(plan.decisions - plan.agreeing), double(plan.decisions)) <= 1 - request.agreement;
    (holds ? holding : failing) = share;
    if (holds)
      choice.plan = plan;
    if (holds && share == 1)
      break;
  }
  holds = holding > 0;
  if (holds)
    return llvm::Error::success();
  choice.plan.thresholds.assign(choice.exits.size(), 1);
  return decoding.run(trials, first, headCost, choice.plan);
}

LogicalResult ExitBuilder::addExit(unsigned number) {
  MLIRContext *context = function.getContext();
  Head &exit = exits[number];
  unsigned layer = exit.layer;
  Value hidden = anatomy.layers.hidden[layer];
  OpBuilder builder(context);
  Location loc = NameLoc::get(builder.getStringAttr("exit." + Twine(layer)));
  builder.setInsertionPointAfter(exit.last);
  ArrayRef<Value> given = exit.outputs;
  bool byState = request.confidence == edge::ExitConfidence::State;
  auto confidence =
      edge::ConfidenceOp::create(builder, loc, RankedTensorType::get({1}, builder.getF32Type()), request.confidence,
                                 byState ? hidden : given[anatomy.logits], byState ? anatomy.layers.hidden[layer - 1] : Value());

  int64_t pending = -1;
  Value state;
  if (anatomy.cache) {
    AffineExpr past = getAffineSymbolExpr(anatomy.cache->position, context);
    state = kept[number] = keepRows(builder, loc, kept[number], hidden, past).getResult();
    ModuleOp module = function->getParentOfType<ModuleOp>();
    SmallVector<Attribute> symbols;
    for (edge::SymbolAttr symbol : edge::symbolsOf(module))
      symbols.push_back(symbol);
    pending = symbols.size();
    symbols.push_back(edge::SymbolAttr::get(context, builder.getStringAttr("pending." + Twine(layer)), 0, kMostPending,
                                            edge::SymbolRole::Pending));
    module->setAttr(edge::EdgeDialect::kSymbolsAttr, builder.getArrayAttr(symbols));
  }
  auto op = edge::ExitOp::create(builder, loc, number, confidence, state, given);
  if (request.verify)
    op->setAttr(kVerifiedAttr, builder.getUnitAttr());
  points.push_back(
      edge::ExitPointAttr::get(context, layer, builder.getF32FloatAttr(float(exit.threshold)), request.confidence, pending));
  if (!anatomy.cache)
    return success();
  bool isLast = number + 1 == exits.size();
  Filling filling{layer,     isLast ? anatomy.layers.count() : exits[number + 1].layer,
                  state,     isLast ? Value() : kept[number + 1],
                  exit.maps, unsigned(pending)};
  std::string fault;
  if (failed(fillCaches(builder, function, anatomy.layers, filling, *anatomy.cache, fault)))
    return fail(fault);
  if (!isLast)
    kept[number + 1] = filling.next;
  return success();
}

void ExitBuilder::report() {
  auto module = function->getParentOfType<ModuleOp>();
  Builder builder(function.getContext());
  SmallVector<Attribute> attributes(points.begin(), points.end());
  module->setAttr(edge::EdgeDialect::kExitsAttr, builder.getArrayAttr(attributes));
  module->setAttr(edge::EdgeDialect::kLayersAttr, builder.getI64IntegerAttr(anatomy.layers.count()));
  std::vector<LedgerEntry> entries;
  for (auto [point, exit] : llvm::zip(points, exits)) {
    std::string text = ("ends after " + Twine(point.getLayer()) + " of " + Twine(anatomy.layers.count()) + " layers if the " +
                        edge::stringifyExitConfidence(point.getConfidence()) + " is at least ")
                           .str();
    llvm::raw_string_ostream(text) << llvm::formatv("{0:f3}", point.getThreshold().getValueAsDouble());
    text += exit.measured;
    std::string name = "exit." + std::to_string(point.getLayer());
    mlir::emitRemark(NameLoc::get(builder.getStringAttr(name))) << text;
    entries.push_back({name,
                       "layer " + std::to_string(point.getLayer()),
                       text,
                       0,
                       0,
                       0,
                       0,
                       {{"threshold", point.getThreshold().getValueAsDouble()}}});
  }
  addToLedger(module, entries);
}

LogicalResult ExitBuilder::run() {
  if (failed(check()))
    return failure();
  for (Head &exit : exits)
    addInput(anatomy.layers, target, exit);
  if (calibrator) {
    if (failed(calibrate()))
      return failure();
  } else {
    for (Head &exit : exits) {
      exit.threshold = request.threshold;
      addHead(anatomy.layers, target, anatomy.outputs, exit);
    }
  }
  for (unsigned number = 0; anatomy.cache && number < exits.size(); ++number)
    if (failed(addState(number)))
      return failure();
  for (unsigned number = 0; number < exits.size(); ++number)
    if (failed(addExit(number)))
      return failure();
  if (anatomy.cache)
    function.front().getTerminator()->setOperands(function.getNumResults() - kept.size(), kept.size(), kept);
  // Heads that were tried and not taken.
  lower::eraseDead(function);
  report();
  return success();
}

struct EarlyExit : impl::EarlyExitBase<EarlyExit> {
  EarlyExit(const EarlyExitOptions &options, Calibrator *calibrator) : EarlyExitBase(options), calibrator(calibrator) {}
  using EarlyExitBase::EarlyExitBase;

  void runOnOperation() override {
    Location loc = getOperation().getLoc();
    auto request = parseRequest({layers, threshold, agreement, confidence, map, verify}, calibrator);
    if (!request) {
      emitError(loc) << llvm::toString(request.takeError());
      return signalPassFailure();
    }
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main) {
      emitError(loc, "early exit: the module has no function 'main'; exits come before the entries are specialized");
      return signalPassFailure();
    }
    if (failed(ExitBuilder(main, *request, request->agreement ? calibrator : nullptr).run()))
      signalPassFailure();
  }

  Calibrator *calibrator = nullptr;
};

} // namespace
} // namespace earlyexit

std::unique_ptr<Pass> createEarlyExit(const EarlyExitOptions &options, Calibrator *calibrator) {
  return std::make_unique<earlyexit::EarlyExit>(options, calibrator);
}

} // namespace edgecc

//===- EarlyExit.cpp - A sure model need not go on --------------------------===//
//
// After a layer: the head, with the weights it has anyway, how sure it is, and the end of the call if it is sure enough. What the
// skipped layers would have written to their caches is made up for when a later token needs it.
//
//===----------------------------------------------------------------------===//
#include "passes/earlyexit/EarlyExit.h"
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

std::string layersText(unsigned count) { return std::to_string(count) + (count == 1 ? " layer" : " layers"); }

class ExitBuilder {
public:
  ExitBuilder(func::FuncOp function, const Request &request, Calibrator *calibrator)
      : function(function), request(request), calibrator(calibrator) {}

  LogicalResult run();

private:
  LogicalResult fail(const Twine &what) { return emitError(function.getLoc(), "early exit: ") << what; }
  LogicalResult check();
  LogicalResult calibrate();
  LogicalResult choose(ArrayRef<Trial> trials, double headCost);
  LogicalResult addState();
  LogicalResult addExit(unsigned number);
  void report();

  func::FuncOp function;
  const Request &request;
  Calibrator *calibrator; // null: thresholds are as they were given
  Layers layers;
  SmallVector<Value> outputs; // that are no states
  unsigned logits = 0;        // number of the output that says how sure the model is
  std::optional<CacheSymbols> cache;
  Value kept;
  SmallVector<Head> exits;
  SmallVector<edge::ExitPointAttr> points;
};

LogicalResult ExitBuilder::check() {
  std::string fault;
  auto found = findLayers(function, fault);
  if (failed(found))
    return fail(fault);
  layers = std::move(*found);
  for (unsigned quarter : {1, 2, 3})
    if (unsigned layer = (layers.count() * quarter + 2) / 4; request.isAuto && layer > 0 && layer < layers.count())
      if (exits.empty() || exits.back().layer != layer)
        exits.push_back({layer});
  for (unsigned layer : request.layers)
    exits.push_back({layer});
  for (unsigned layer : request.layers) {
    if (layer == 0 || layer > layers.count())
      return fail("--exit-layers=" + Twine(layer) + ": the model has the layers 1 to " + Twine(layers.count()));
    if (layer == layers.count())
      return fail("--exit-layers=" + Twine(layer) + ": behind the last of " + layersText(layers.count()) +
                  " there is nothing to save; the last useful exit is " + Twine(layers.count() - 1));
  }
  bool hasState = false;
  for (OpOperand &operand : function.front().getTerminator()->getOpOperands())
    if (function.getResultAttr(operand.getOperandNumber(), edge::EdgeDialect::kStateAttr))
      hasState = true;
    else
      outputs.push_back(operand.get());
  auto sure = llvm::find_if(outputs, isLogits);
  if (request.confidence != edge::ExitConfidence::State && sure == outputs.end())
    return fail("no output of the model is the result of a linear layer, so there are no logits to be sure about; "
                "--exit-confidence=state looks at the hidden states instead");
  logits = sure == outputs.end() ? 0 : sure - outputs.begin();
  if (hasState) {
    auto symbols = cacheSymbols(function, fault);
    if (failed(symbols))
      return fail(fault);
    cache = *symbols;
    auto shape = edge::shapeOf(layers.hidden[0]);
    if (edge::product(ArrayRef<AffineExpr>(shape).drop_back(2), function.getContext()) !=
        getAffineConstantExpr(1, function.getContext()))
      return fail("the sequences of a batch would leave at different layers; compile with --dim batch=1");
    for (BlockArgument arg : function.getArguments())
      if (function.getArgAttr(arg.getArgNumber(), edge::EdgeDialect::kStateAttr) &&
          llvm::none_of(edge::shapeOf(arg), [&](AffineExpr size) { return size.isFunctionOfSymbol(cache->capacity); }))
        return fail("state " +
                    Twine(function.getArgAttrOfType<StringAttr>(arg.getArgNumber(), edge::EdgeDialect::kNameAttr).getValue()) +
                    " has no positions, so what a skipped layer misses cannot be made up for");
  } else if (request.verify) {
    return fail("--exit-verify: the model has no cache, so there is nothing to verify token by token");
  }
  return success();
}

/// exit.hidden [1, 1, context, width], the last state.
LogicalResult ExitBuilder::addState() {
  MLIRContext *context = function.getContext();
  auto type = cast<RankedTensorType>(layers.hidden[0].getType());
  AffineExpr one = getAffineConstantExpr(1, context);
  auto state = edge::tensorType(
      {one, one, getAffineSymbolExpr(cache->capacity, context), getAffineConstantExpr(type.getShape().back(), context)},
      type.getElementType());
  int64_t number = 0;
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    number += bool(function.getArgAttr(i, edge::EdgeDialect::kStateAttr));
  Builder builder(context);
  NamedAttribute index(builder.getStringAttr(edge::EdgeDialect::kStateAttr), builder.getI64IntegerAttr(number));
  std::string element;
  llvm::raw_string_ostream(element) << type.getElementType();
  auto attributes = builder.getDictionaryAttr(
      {index, NamedAttribute(builder.getStringAttr(edge::EdgeDialect::kNameAttr), builder.getStringAttr("exit.hidden")),
       NamedAttribute(builder.getStringAttr(edge::EdgeDialect::kElementAttr), builder.getStringAttr(element))});
  unsigned results = function.getNumResults();
  if (failed(function.insertArgument(function.getNumArguments(), state, attributes, function.getLoc())) ||
      failed(function.insertResult(results, state, builder.getDictionaryAttr({index}))))
    return failure();
  kept = function.getArguments().back();
  function.front().getTerminator()->insertOperands(results, kept);
  return success();
}

/// Maps, heads and thresholds, from samples.
LogicalResult ExitBuilder::calibrate() {
  // Costs are those of the model as it is, without the heads that are tried.
  double headCost = costOfHead(function, layers, request.confidence, request.map);
  std::vector<ExitMap> maps;
  if (request.map) {
    SmallVector<Value> hidden;
    for (const Head &exit : exits)
      hidden.push_back(layers.hidden[exit.layer]);
    auto fitted = fitMaps(*calibrator, hidden, layers.hidden.back());
    if (!fitted)
      return fail(llvm::toString(fitted.takeError()));
    maps = std::move(*fitted);
  }
  SmallVector<TrialValues> values;
  for (auto [i, exit] : llvm::enumerate(exits)) {
    if (llvm::Error error = addHead(layers, outputs, maps.empty() ? nullptr : &maps[i], exit))
      return fail(llvm::toString(std::move(error)));
    values.push_back({exit.outputs[logits], layers.hidden[exit.layer], layers.hidden[exit.layer - 1]});
  }
  auto trials = tryExits(*calibrator, values, outputs[logits], request.confidence, /*each=*/cache.has_value());
  if (!trials)
    return fail(llvm::toString(trials.takeError()));
  return choose(*trials, headCost);
}

/// Thresholds for the exits that were asked for; with `auto`, for those of them that save most.
LogicalResult ExitBuilder::choose(ArrayRef<Trial> trials, double headCost) {
  std::string agreement = llvm::formatv("{0}", request.agreement);
  size_t decisions = trials.front().confidence.size(), least = size_t(std::ceil(3 / (1 - std::min(request.agreement, 0.9999))));
  if (decisions < least)
    return fail("--exit-agreement=" + agreement + ": the samples have " + Twine(decisions) + " calls to judge by; at least " +
                Twine(least) + " are needed");
  std::optional<Schedule> best;
  SmallVector<unsigned> chosen;
  unsigned all = (1u << exits.size()) - 1;
  for (unsigned set = request.isAuto ? 1 : all; set <= all; ++set) {
    SmallVector<const Trial *> of;
    SmallVector<unsigned> numbers, after;
    for (unsigned i = 0; i < exits.size(); ++i)
      if (set >> i & 1) {
        of.push_back(&trials[i]);
        numbers.push_back(i);
        after.push_back(exits[i].layer);
      }
    Schedule plan = schedule(of, after, layers.count(), request.agreement, headCost);
    if (!best || plan.cost < best->cost) {
      best = plan;
      chosen = numbers;
    }
  }
  if (request.isAuto && best->cost >= layers.count())
    return fail("--exit-layers=auto: with an agreement of " + agreement +
                " no exit saves what its head costs on these samples; ask for less, or name the layers");
  SmallVector<Head> taken;
  for (auto [i, number] : llvm::enumerate(chosen)) {
    Head exit = std::move(exits[number]);
    exit.threshold = best->thresholds[i];
    double share = 100.0 * best->taken[i] / decisions, right = 100.0 * best->right[i] / std::max<size_t>(best->taken[i], 1);
    exit.measured =
        llvm::formatv("; {0:f1} % of {1} calls do, and {2:f1} % of these say what the whole model says; with all exits "
                      "{3:f2} layers on average",
                      share, decisions, right, best->layers);
    taken.push_back(std::move(exit));
  }
  exits = std::move(taken);
  return success();
}

LogicalResult ExitBuilder::addExit(unsigned number) {
  MLIRContext *context = function.getContext();
  Head &exit = exits[number];
  unsigned layer = exit.layer;
  Value hidden = layers.hidden[layer];
  OpBuilder builder(context);
  Location loc = NameLoc::get(builder.getStringAttr("exit." + Twine(layer)));
  builder.setInsertionPointAfter(exit.last);
  ArrayRef<Value> given = exit.outputs;
  bool byState = request.confidence == edge::ExitConfidence::State;
  auto confidence = edge::ConfidenceOp::create(builder, loc, RankedTensorType::get({1}, builder.getF32Type()), request.confidence,
                                               byState ? hidden : given[logits], byState ? layers.hidden[layer - 1] : Value());

  int64_t pending = -1;
  Value state;
  if (cache) {
    auto shape = edge::shapeOf(hidden);
    AffineExpr one = getAffineConstantExpr(1, context);
    auto type = cast<RankedTensorType>(hidden.getType());
    auto rows = edge::ReshapeOp::create(
        builder, loc, edge::tensorType({one, shape[shape.size() - 2], one, shape.back()}, type.getElementType()), hidden);
    AffineMap position = edge::symbolMap({getAffineSymbolExpr(cache->position, context)}, context);
    state = kept = edge::AppendOp::create(builder, loc, kept.getType(), kept, rows, position).getResult();
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
  if (!cache)
    return success();
  unsigned next = number + 1 < exits.size() ? exits[number + 1].layer : layers.count();
  std::string fault;
  if (failed(fillCaches(builder, function, layers, layer, next, kept, *cache, pending, fault)))
    return fail(fault);
  return success();
}

void ExitBuilder::report() {
  auto module = function->getParentOfType<ModuleOp>();
  Builder builder(function.getContext());
  SmallVector<Attribute> attributes(points.begin(), points.end());
  module->setAttr(edge::EdgeDialect::kExitsAttr, builder.getArrayAttr(attributes));
  module->setAttr(edge::EdgeDialect::kLayersAttr, builder.getI64IntegerAttr(layers.count()));
  std::vector<LedgerEntry> entries;
  for (auto [point, exit] : llvm::zip(points, exits)) {
    std::string text = ("ends after " + Twine(point.getLayer()) + " of " + Twine(layers.count()) + " layers if the " +
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
  if (calibrator) {
    if (failed(calibrate()))
      return failure();
  } else {
    for (Head &exit : exits) {
      exit.threshold = request.threshold;
      if (llvm::Error error = addHead(layers, outputs, nullptr, exit))
        return fail(llvm::toString(std::move(error)));
    }
  }
  if (cache && failed(addState()))
    return failure();
  for (unsigned number = 0; number < exits.size(); ++number)
    if (failed(addExit(number)))
      return failure();
  if (cache)
    function.front().getTerminator()->setOperand(function.getNumResults() - 1, kept);
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

//===- Anatomy.cpp - What exits need of a model -------------------------------===//
#include "passes/earlyexit/Anatomy.h"
#include "dialects/edge/Shape.h"
#include "passes/earlyexit/Heads.h"
#include "passes/earlyexit/Trials.h"

using namespace mlir;
namespace edgecc::earlyexit {
namespace {

llvm::Error fail(const Twine &what) { return llvm::createStringError("early exit: " + what); }

std::string layersText(int64_t count) { return std::to_string(count) + (count == 1 ? " layer" : " layers"); }

/// After which layers of `count`.
llvm::Expected<SmallVector<unsigned>> exitsAmong(int64_t count, int64_t pruned, const Request &request) {
  SmallVector<unsigned> exits;
  for (int64_t quarter : {1, 2, 3})
    if (int64_t layer = (count * quarter + 2) / 4; request.isAuto && layer > 0 && layer < count)
      if (exits.empty() || exits.back() != layer)
        exits.push_back(layer);
  std::string left = pruned > 0 ? " (--prune takes " + std::to_string(pruned) + " away)" : "";
  if (request.isAuto && exits.empty())
    return fail("--exit-layers=auto: behind the last of " + layersText(count) + left + " there is nothing to save");
  for (unsigned layer : request.layers) {
    if (layer == 0 || layer > count)
      return fail("--exit-layers=" + Twine(layer) + ": the model has the layers 1 to " + Twine(count) + left);
    if (layer == count)
      return fail("--exit-layers=" + Twine(layer) + ": behind the last of " + layersText(count) + left +
                  " there is nothing to save; the last useful exit is " + Twine(count - 1));
    exits.push_back(layer);
  }
  return exits;
}

} // namespace

Value targetOf(func::FuncOp function, const Anatomy &anatomy) {
  return anatomy.cache ? anatomy.layers.hidden.back() : inputOfLogits(function, anatomy.layers, anatomy.outputs[anatomy.logits]);
}

llvm::Error checkSamples(func::FuncOp function, const Anatomy &anatomy, const Request &request, const Calibrator &calibrator) {
  if (request.agreement == 0)
    return llvm::Error::success();
  size_t samples = calibrator.samples();
  Value target = targetOf(function, anatomy), logits = anatomy.outputs[anatomy.logits];
  auto forMaps = [&](size_t sample) { return isForMaps(sample, samples); };
  if (auto rows = calibrator.tokensOf(target, forMaps); rows && request.map)
    if (llvm::Error error = checkMapRows(*rows, cast<RankedTensorType>(target.getType()).getShape().back()))
      return fail(llvm::toString(std::move(error)));
  // Of an encoder's batch each sequence is a decision, of a text each token from the last one of its prompt on.
  if (!anatomy.cache && cast<RankedTensorType>(logits.getType()).getRank() != 2)
    return llvm::Error::success();
  auto decisions = calibrator.tokensOf(logits, [&](size_t sample) { return isForTrials(sample, samples); });
  for (size_t sample = 0; decisions && anatomy.cache && sample < samples; ++sample)
    if (isForTrials(sample, samples))
      *decisions -= calibrator.promptOf(sample);
  if (!decisions)
    return llvm::Error::success();
  if (llvm::Error error = checkDecisions(*decisions, request.agreement))
    return fail(llvm::toString(std::move(error)));
  return llvm::Error::success();
}

llvm::Expected<Anatomy> examine(func::FuncOp function, const Request &request, int64_t pruned) {
  std::string fault;
  auto found = findLayers(function, fault);
  if (failed(found))
    return fail(fault);
  Anatomy anatomy;
  anatomy.layers = std::move(*found);
  auto exits = exitsAmong(int64_t(anatomy.layers.count()) - pruned, pruned, request);
  if (!exits)
    return exits.takeError();
  anatomy.exits = std::move(*exits);
  bool hasState = false;
  for (OpOperand &operand : function.front().getTerminator()->getOpOperands())
    if (function.getResultAttr(operand.getOperandNumber(), edge::EdgeDialect::kStateAttr))
      hasState = true;
    else
      anatomy.outputs.push_back(operand.get());
  auto sure = llvm::find_if(anatomy.outputs, isLogits);
  if (request.confidence != edge::ExitConfidence::State && sure == anatomy.outputs.end())
    return fail("no output of the model is the result of a linear layer, so there are no logits to be sure about; "
                "--exit-confidence=state looks at the hidden states instead");
  anatomy.logits = sure == anatomy.outputs.end() ? 0 : sure - anatomy.outputs.begin();
  if (!hasState && request.verify)
    return fail("--exit-verify: the model has no cache, so there is nothing to verify token by token");
  if (!hasState)
    return anatomy;
  auto symbols = cacheSymbols(function, fault);
  if (failed(symbols))
    return fail(fault);
  anatomy.cache = *symbols;
  auto shape = edge::shapeOf(anatomy.layers.hidden[0]);
  if (edge::product(ArrayRef<AffineExpr>(shape).drop_back(2), function.getContext()) !=
      getAffineConstantExpr(1, function.getContext()))
    return fail("the sequences of a batch would leave at different layers; compile with --dim batch=1");
  for (BlockArgument arg : function.getArguments())
    if (function.getArgAttr(arg.getArgNumber(), edge::EdgeDialect::kStateAttr) &&
        llvm::none_of(edge::shapeOf(arg), [&](AffineExpr size) { return size.isFunctionOfSymbol(symbols->capacity); }))
      return fail("state " +
                  Twine(function.getArgAttrOfType<StringAttr>(arg.getArgNumber(), edge::EdgeDialect::kNameAttr).getValue()) +
                  " has no positions, so what a skipped layer misses cannot be made up for");
  return anatomy;
}

} // namespace edgecc::earlyexit

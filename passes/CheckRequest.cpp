//===- CheckRequest.cpp - What cannot be done is said before anything is ----===//
//
// Each pass refuses what it cannot do, but most come after others, which may calibrate for hours. What does not depend on those
// is asked here of all of them, by the functions that the passes themselves ask.
//
//===----------------------------------------------------------------------===//
#include "passes/Pipeline.h"
#include "passes/attention/AttentionBlock.h"
#include "passes/attention/MergeKvHeads.h"
#include "passes/earlyexit/Anatomy.h"
#include "passes/prune/PruneChannels.h"
#include "passes/prune/PruneHeads.h"
#include "passes/prune/PruneLayers.h"
#include "passes/prune/SliceWidth.h"
#include "passes/quantize/CacheType.h"
#include "passes/quantize/ChooseOutliers.h"
#include "passes/quantize/KeptWeights.h"
#include "passes/quantize/Tensors.h"

using namespace mlir;
namespace edgecc {
namespace {

class RequestCheck {
public:
  RequestCheck(ModuleOp module, func::FuncOp main, const CompressRequest &request)
      : module(module), main(main), request(request), prune(request.prune) {}

  LogicalResult run() {
    checkPruning();
    // Heads and channels that go make other layers of those that are there.
    bool othersLater = prune.heads > 0 || prune.ffn > 0 || prune.width > 0 || prune.hasTarget();
    if (request.calibrator)
      expect(checkKvHeads(main, request.kvHeads.heads, prune.heads > 0 || prune.hasTarget(), request.calibrator));
    checkQuantization(othersLater);
    checkExits();
    if (!request.cache.empty())
      expect(checkCaches(main, request.cache));
    return success(holds);
  }

private:
  void expect(llvm::Error error, StringRef before = "") {
    if (!error)
      return;
    main.emitError() << before << llvm::toString(std::move(error));
    holds = false;
  }

  void checkPruning() {
    if (prune.width > 0) {
      auto stream = findResidualStream(main);
      expect(stream ? keptWidth(*stream, prune.width).takeError() : stream.takeError(), "pruning the width: ");
    }
    prune::HeadGroups heads;
    prune::ChannelGroups channels;
    auto check = [&](double share, bool ofHeads, bool ofChannels) {
      prune::SweepOptions options{prune.method, prune.compensation, prune.spread, share};
      if (prune.hasTarget())
        options.goal = [](ArrayRef<prune::Site>) { return prune::Goal(); };
      expect(prune::checkSites(module, options, request.calibrator, [&](func::FuncOp function) {
        std::vector<prune::Sites> found;
        if (ofHeads)
          found.push_back(prune::headSites(function, heads));
        if (ofChannels)
          found.push_back(prune::channelSites(function, channels));
        return found;
      }));
    };
    if (prune.heads > 0)
      check(prune.heads, true, false);
    if (prune.ffn > 0)
      check(prune.ffn, false, true);
    if (prune.hasTarget())
      check(0, true, true);
  }

  void checkQuantization(bool othersLater) {
    const QuantizeRequest &quantize = request.quantize;
    const QuantizeAlgorithms &algorithms = quantize.algorithms;
    if (!quantize.any())
      return;
    if (algorithms.rotate)
      expect(findResidualStream(main).takeError(), "the residual stream cannot be rotated: ");
    auto tensors = Tensors::collect(module, quantize.scheme, quantize.layers);
    if (!tensors) {
      // Rotation and a narrower stream leave weights with names of their own.
      if (algorithms.rotate || prune.width > 0)
        return llvm::consumeError(tensors.takeError());
      std::vector<std::string> others = withoutParts(quantize.layers);
      if (others.size() == quantize.layers.size())
        return expect(tensors.takeError());
      llvm::consumeError(tensors.takeError());
      return expect(Tensors::collect(module, quantize.scheme, others).takeError());
    }
    checkThatSomeAreQuantized(*tensors);
    if (algorithms.llmInt8 && !quantize.budget.any())
      expect(layersOfRoundedInputs(*tensors).takeError());
    if (!algorithms.gptq || !request.calibrator || othersLater)
      return;
    SmallVector<Tensor *> rounded = quantize.budget.any() ? tensors->worthIt() : SmallVector<Tensor *>();
    for (auto [tensor, scheme] : tensors->chosen())
      rounded.push_back(tensor);
    holds &= succeeded(checkTokens(rounded, *request.calibrator));
  }

  /// What the model has quantized itself stays as it is: that is said, and an error if there is nothing else.
  void checkThatSomeAreQuantized(Tensors &tensors) {
    bool any = request.quantize.budget.any() ? !tensors.worthIt().empty() : !tensors.chosen().empty();
    std::string kept = describeKeptWeights(module);
    std::string asked = request.quantize.budget.any() ? "quantization within a budget" : "--quant=" + request.quantize.scheme;
    if (!any)
      expect(llvm::createStringError(asked +
                                     ": the model has no float weight to quantize (a linear of 16 outputs and 32 inputs " +
                                     "at least, or a table of tokens)" + (kept.empty() ? "" : "; " + kept) +
                                     "; leave it away, or name layers with --quant-layer"));
    else if (!kept.empty())
      main.emitWarning() << asked << ": " << kept << "; quantized weights stay as they are";
  }

  /// Those of --quant-layer but what may be meant for the parts of fused layers, which only merging makes.
  std::vector<std::string> withoutParts(ArrayRef<std::string> layers) {
    SmallVector<std::string> parts;
    for (edge::AttentionOp attention : main.getOps<edge::AttentionOp>()) {
      if (auto block = findAttentionBlock(attention))
        parts.append(partNames(*block));
      else
        llvm::consumeError(block.takeError());
    }
    std::vector<std::string> others;
    for (const std::string &text : layers) {
      auto layer = parseLayerScheme(text);
      if (!layer)
        llvm::consumeError(layer.takeError());
      else if (request.kvHeads.heads != "none" && llvm::any_of(parts, [&](StringRef name) { return layer->glob.match(name); }))
        continue;
      others.push_back(text);
    }
    return others;
  }

  void checkExits() {
    if (request.exits.layers.empty())
      return;
    auto exits = earlyexit::parseRequest(request.exits, request.calibrator);
    if (!exits)
      return expect(exits.takeError());
    std::string fault;
    auto layers = prune.layers > 0 ? earlyexit::findLayers(main, fault) : FailureOr<earlyexit::Layers>();
    if (succeeded(layers))
      if (llvm::Error error = checkLayers(layers->count(), prune.layers))
        return expect(std::move(error), "pruning layers: ");
    auto anatomy = earlyexit::examine(main, *exits, prune.layers);
    if (!anatomy)
      return expect(anatomy.takeError());
    if (request.calibrator && prune.width == 0)
      expect(earlyexit::checkSamples(main, *anatomy, *exits, *request.calibrator));
  }

  ModuleOp module;
  func::FuncOp main;
  const CompressRequest &request;
  const PruneRequest &prune;
  bool holds = true;
};

} // namespace

LogicalResult checkRequest(ModuleOp module, const CompressRequest &request) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  // The passes say it.
  return main ? RequestCheck(module, main, request).run() : success();
}

} // namespace edgecc

//===- MergeKvHeads.cpp - Fewer KV heads ------------------------------------===//
//
// A cache holds KV heads times positions; what reads it is bound by its bytes. Exact: heads that are there twice. Lossy: heads
// that are made one, layer by layer, each on what the merged ones before it make of the samples (README.md).
//
//===----------------------------------------------------------------------===//
#include "passes/attention/MergeKvHeads.h"
#include "dialects/edge/Shape.h"
#include "passes/attention/MergeLayer.h"
#include "passes/quantize/Divergence.h"
#include "passes/quantize/Ledger.h"
#include "llvm/Support/FormatVariadic.h"
#include <set>

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_MERGEKVHEADS
#include "passes/Passes.h.inc"

namespace {

/// Bytes that a token adds to the caches of a block.
int64_t cacheBytes(const AttentionBlock &block) {
  edge::AppendOp append = block.keyAppend;
  Type element = append.getResult().getType().getElementType();
  return (block.key.channels() + block.value.channels()) * edge::elementBytes(element);
}

/// What became of a layer.
struct Change {
  Location place;
  std::string attention, keyWeight, how;
  int64_t kvHeadsBefore, kvHeads, bytesBefore, bytes;
  double error; ///< of the block's output; 0: rounding
};

/// All blocks, if all can be merged to `kvHeads`, which is `text`; 0: to some number. With `calibrator`, also if its samples are
/// enough.
llvm::Expected<std::vector<AttentionBlock>> blocksOf(func::FuncOp function, StringRef text, int64_t kvHeads,
                                                     const Calibrator *calibrator) {
  std::vector<AttentionBlock> blocks;
  std::string missing;
  for (edge::AttentionOp attention : function.getOps<edge::AttentionOp>()) {
    auto block = findAttentionBlock(attention);
    if (!block) {
      missing += "\n  " + llvm::toString(block.takeError());
      continue;
    }
    auto function = BlockFunction::of(*block);
    if (!function)
      missing += "\n  " + llvm::toString(function.takeError());
    else if (!block->keyAppend)
      missing += ("\n  attention '" + block->name() + "': it keeps no cache, which is what fewer KV heads make smaller").str();
    else if (kvHeads > block->key.heads)
      missing += llvm::formatv("\n  attention '{0}': has only {1} KV heads", block->name(), block->key.heads);
    else if (kvHeads && block->key.heads % kvHeads)
      missing += llvm::formatv("\n  attention '{0}': its {1} KV heads make no {2} groups of one size", block->name(),
                               block->key.heads, kvHeads);
    blocks.push_back(std::move(*block));
  }
  if (!missing.empty())
    return llvm::createStringError("kv-heads=" + text + " cannot be done:" + missing);
  if (blocks.empty())
    return llvm::createStringError("kv-heads=" + text + ": the model has no attention");
  for (const AttentionBlock &block : blocks)
    if (auto tokens = calibrator ? calibrator->tokensOf(block.query.input()) : std::nullopt; tokens && kvHeads != block.key.heads)
      if (llvm::Error error = checkTokens(block, *tokens))
        return error;
  return blocks;
}

struct MergeKvHeads : impl::MergeKvHeadsBase<MergeKvHeads> {
  using MergeKvHeadsBase::MergeKvHeadsBase;
  MergeKvHeads(const MergeKvHeadsOptions &options, Calibrator *calibrator) : MergeKvHeadsBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    if (llvm::Error error = checkKvHeads(heads, merge, maxKl, calibrator))
      return fail(llvm::toString(std::move(error)));
    if (heads == "none")
      return;
    if (heads == "exact")
      return fold();
    int64_t number = 0;
    bool isNumber = !StringRef(heads).getAsInteger(10, number);
    Merge how = llvm::cantFail(parseMerge(merge));
    if (llvm::Error error = isNumber ? mergeTo(number, how) : mergeWithin(maxKl, how))
      fail(llvm::toString(std::move(error)));
  }

private:
  void fail(const Twine &message) {
    getOperation().emitError() << message;
    signalPassFailure();
  }

  //===--- Exact ---------------------------------------------------------------------------------------------------------===//

  void fold() {
    SmallVector<edge::AttentionOp> attentions;
    getOperation().walk([&](edge::AttentionOp op) { attentions.push_back(op); });
    for (edge::AttentionOp attention : attentions) {
      std::string why;
      auto folded = foldBlock(attention, why);
      if (!folded)
        return fail(llvm::toString(folded.takeError()));
      if (!*folded && !why.empty())
        attention.emitRemark() << why << "; its KV heads stay";
    }
    report(std::nullopt);
  }

  /// False if nothing could be folded; `why` if something stood in the way.
  llvm::Expected<bool> foldBlock(edge::AttentionOp attention, std::string &why) {
    auto block = findAttentionBlock(attention);
    if (!block) {
      why = llvm::toString(block.takeError());
      return false;
    }
    edge::LinearOp linear = block->key.linear;
    // The last place of 1.
    auto element = cast<FloatType>(linear.getWeight().getType().getElementType());
    auto folded = foldEqualHeads(*block, readWeights(*block), std::ldexp(1.0, 1 - int(element.getFPMantissaWidth())), why);
    if (!folded) {
      if (!why.empty())
        why = ("attention '" + block->name() + "': " + why).str();
      return false;
    }
    auto rebuilt = rebuildBlock(*block, *folded);
    if (!rebuilt)
      return rebuilt.takeError();
    note(*block, *rebuilt, "exact", 0);
    return true;
  }

  //===--- Lossy ---------------------------------------------------------------------------------------------------------===//

  func::FuncOp mainOf(ModuleOp module) { return module.lookupSymbol<func::FuncOp>("main"); }

  llvm::Error mergeTo(int64_t kvHeads, Merge how) {
    func::FuncOp function = mainOf(getOperation());
    auto blocks = blocksOf(function, heads, kvHeads, calibrator);
    if (!blocks)
      return blocks.takeError();
    std::vector<int64_t> plan(blocks->size(), kvHeads);
    auto divergence = Divergence::create(*calibrator, function);
    if (!divergence)
      return divergence.takeError();
    if (llvm::Error error = mergeAll(function, plan, how))
      return error;
    auto kl = divergence->measure(function);
    if (!kl)
      return kl.takeError();
    report(*kl);
    return llvm::Error::success();
  }

  /// `plan`: KV heads of each attention, in their order.
  llvm::Error mergeAll(func::FuncOp function, ArrayRef<int64_t> plan, Merge how) {
    changes.clear();
    calibrator->restart();
    SmallVector<edge::AttentionOp> attentions(function.getOps<edge::AttentionOp>());
    for (auto [i, attention, kvHeads] : llvm::enumerate(attentions, plan)) {
      auto block = findAttentionBlock(attention);
      if (!block)
        return block.takeError();
      if (kvHeads == block->key.heads)
        continue;
      auto merger =
          LayerMerger::create(*calibrator, *block, llvm::formatv("KV heads, layer {0} of {1}", i + 1, plan.size()).str());
      if (!merger)
        return merger.takeError();
      auto merged = merger->merge(kvHeads, how, steps);
      if (!merged)
        return merged.takeError();
      auto rebuilt = rebuildBlock(*block, merged->weights);
      if (!rebuilt)
        return rebuilt.takeError();
      note(*block, *rebuilt, merge, merged->error);
    }
    calibrator->restart();
    return llvm::Error::success();
  }

  /// As few KV heads as `limit` allows: what a layer would lose is estimated for each number, and one bound on that, the same for
  /// all layers, is searched.
  llvm::Error mergeWithin(double limit, Merge how) {
    func::FuncOp function = mainOf(getOperation());
    auto blocks = blocksOf(function, heads, 0, calibrator);
    if (!blocks)
      return blocks.takeError();
    auto divergence = Divergence::create(*calibrator, function);
    if (!divergence)
      return divergence.takeError();
    std::vector<std::map<int64_t, double>> errors;
    std::set<double> bounds;
    for (auto [i, block] : llvm::enumerate(*blocks)) {
      auto merger =
          LayerMerger::create(*calibrator, block, llvm::formatv("KV heads, layer {0} of {1}", i + 1, blocks->size()).str());
      if (!merger)
        return merger.takeError();
      errors.emplace_back();
      for (int64_t kvHeads = 1; kvHeads < block.key.heads; ++kvHeads)
        if (block.key.heads % kvHeads == 0) {
          auto merged = merger->merge(kvHeads, std::min(how, Merge::Solve), steps);
          if (!merged)
            return merged.takeError();
          errors.back()[kvHeads] = merged->error;
          bounds.insert(merged->error);
        }
    }
    std::vector<double> sorted(bounds.begin(), bounds.end());
    auto planFor = [&](size_t count) {
      std::vector<int64_t> plan;
      for (auto [block, known] : llvm::zip(*blocks, errors)) {
        plan.push_back(block.key.heads);
        for (auto [kvHeads, error] : llvm::reverse(known))
          if (count && error <= sorted[count - 1])
            plan.back() = kvHeads;
      }
      return plan;
    };
    // The first `good` bounds are known to be within the limit, more than `bad` - 1 are not.
    size_t good = 0, bad = sorted.size() + 1;
    OwningOpRef<ModuleOp> best;
    double bestKl = 0;
    std::vector<Change> bestChanges;
    while (bad - good > 1) {
      size_t middle = (good + bad) / 2;
      OwningOpRef<ModuleOp> trial = getOperation().clone();
      if (llvm::Error error = mergeAll(mainOf(*trial), planFor(middle), how))
        return error;
      auto kl = divergence->measure(mainOf(*trial));
      if (!kl)
        return kl.takeError();
      (*kl <= limit ? good : bad) = middle;
      if (*kl > limit)
        continue;
      best = std::move(trial);
      bestKl = *kl;
      bestChanges = changes;
    }
    calibrator->restart();
    changes = bestChanges;
    if (best) {
      getOperation().getBodyRegion().takeBody(best->getBodyRegion());
    } else {
      emitRemark(getOperation().getLoc())
          << llvm::formatv("no layer can have fewer KV heads with a KL divergence of at most {0}", limit).str();
    }
    report(bestKl);
    return llvm::Error::success();
  }

  //===--- What is said --------------------------------------------------------------------------------------------------===//

  void note(const AttentionBlock &before, const AttentionBlock &after, StringRef how, double error) {
    edge::LinearOp linear = after.key.linear;
    int64_t was = before.key.heads;
    edge::AppendOp append = after.keyAppend;
    int64_t bytes = append ? cacheBytes(after) : 0;
    changes.push_back({edge::AttentionOp(after.attention).getLoc(), after.name().str(),
                       linear.getWeight().getDefiningOp<edge::WeightOp>().getName().str(), how.str(), was, after.key.heads,
                       bytes / after.key.heads * was, bytes, error});
  }

  void report(std::optional<double> kl) {
    std::vector<LedgerEntry> ledger;
    int64_t before = 0, after = 0;
    for (const Change &change : changes) {
      LedgerEntry entry{
          change.keyWeight, change.attention, llvm::formatv("kv-heads={0} ({1})", change.kvHeads, change.how), change.bytesBefore,
          change.bytes,     change.error,     change.error > 0 ? -20 * std::log10(change.error) : 200.0,       {}};
      entry.figures["kv_heads_before"] = double(change.kvHeadsBefore);
      entry.figures["kv_heads"] = double(change.kvHeads);
      if (kl)
        entry.figures["model_kl"] = *kl;
      ledger.push_back(std::move(entry));
      before += change.bytesBefore;
      after += change.bytes;
      emitRemark(change.place) << llvm::formatv("attention '{0}': {1} to {2} KV heads ({3}), error of its output {4:F4}",
                                                change.attention, change.kvHeadsBefore, change.kvHeads, change.how, change.error)
                                      .str();
    }
    if (ledger.empty())
      return;
    addToLedger(getOperation(), ledger);
    std::string text = llvm::formatv("KV cache of the changed layers: {0} to {1} bytes per token", before, after);
    if (kl)
      text += llvm::formatv("; KL divergence of the model {0:F5} nats per token", *kl);
    emitRemark(getOperation().getLoc()) << text;
  }

  Calibrator *calibrator = nullptr;
  std::vector<Change> changes;
};

} // namespace

llvm::Error checkKvHeads(StringRef heads, StringRef merge, double maxKl, bool hasSamples) {
  int64_t number = 0;
  if (auto how = parseMerge(merge); !how)
    return llvm::createStringError("kv-merge=" + merge + ": " + llvm::toString(how.takeError()));
  if (heads == "none" || heads == "exact")
    return llvm::Error::success();
  if (heads != "auto" && (heads.getAsInteger(10, number) || number < 1))
    return llvm::createStringError("kv-heads=" + heads + " is neither none, exact, auto, nor a number of KV heads");
  if ((heads == "auto") != (maxKl > 0))
    return llvm::createStringError(heads == "auto"
                                       ? "kv-heads=auto needs to know what may be lost: give max-kl in nats per token"
                                       : "max-kl goes with kv-heads=auto; with a number of KV heads nothing is left to choose");
  if (!hasSamples)
    return llvm::createStringError("kv-heads=" + heads +
                                   " merges heads by what they do on samples, and there are none: give --calibrate FILE");
  return llvm::Error::success();
}

llvm::Error checkKvHeads(func::FuncOp main, StringRef heads, bool arePruned, const Calibrator *calibrator) {
  int64_t number = 0;
  if (heads == "none" || heads == "exact" || (heads.getAsInteger(10, number) && heads != "auto"))
    return llvm::Error::success();
  return blocksOf(main, heads, arePruned ? 0 : number, arePruned ? nullptr : calibrator).takeError();
}

std::unique_ptr<Pass> createMergeKvHeads(const MergeKvHeadsOptions &options, Calibrator *calibrator) {
  return std::make_unique<MergeKvHeads>(options, calibrator);
}

} // namespace edgecc

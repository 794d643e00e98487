//===- PruneToSize.cpp - Heads and channels until a model fits --------------===//
//
// A byte is a byte, whether a head or a channel has it: both are offered together, and what loses least for its bytes goes next.
// Bytes are those of the artifact, with the schemes that the weights will be rounded by.
//
//===----------------------------------------------------------------------===//
#include "passes/prune/PruneToSize.h"
#include "dialects/edge/Cache.h"
#include "mlir/Pass/PassManager.h"
#include "passes/prune/PruneChannels.h"
#include "passes/prune/PruneHeads.h"
#include "passes/prune/PruneLayers.h"
#include "passes/prune/Request.h"
#include "passes/quantize/CacheType.h"
#include "passes/quantize/PackedWeights.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_PRUNETOSIZE
#include "passes/Passes.h.inc"

using namespace prune;

namespace {

/// Tokens in the cache when a token is decoded, as in the report's estimates.
constexpr int64_t kContext = 512;

/// What is counted, of a module as it is now.
class Scale {
public:
  enum class Kind {
    Stored,    ///< bytes of all weights
    Read,      ///< of what linears and attention read for a token
    Multiplied ///< multiply-adds of linears, where there is no cache: weights are read for many tokens at once
  };

  Scale(Kind kind, PackedWeights weights, StringRef cache, bool addsBias)
      : kind(kind), weights(std::move(weights)), cache(parseCacheType(cache)), addsBias(addsBias) {}

  std::string unit() const {
    return kind == Kind::Stored ? "bytes of weights"
           : kind == Kind::Read ? "bytes of weights and cache that a token reads"
                                : "multiply-adds of a token";
  }

  int64_t whole(func::FuncOp main) const {
    if (kind == Kind::Stored)
      return weights.total();
    int64_t sum = kind == Kind::Read ? weights.read() : 0;
    for (BlockArgument argument : main.getArguments())
      if (kind == Kind::Read && main.getArgAttr(argument.getArgNumber(), edge::EdgeDialect::kStateAttr))
        sum += cacheBytes(argument);
    main.walk([&](edge::LinearOp linear) {
      if (kind == Kind::Multiplied)
        sum += linear.outputChannels() * linear.inputChannels();
    });
    return sum;
  }

  int64_t of(const Site &site, int64_t kept) const {
    int64_t sum = 0;
    auto add = [&](edge::LinearOp linear, int64_t outputs, int64_t inputs) {
      int64_t bytes = kind == Kind::Multiplied ? 0 : weights.bytes(linear, outputs, inputs);
      sum += kind == Kind::Multiplied ? outputs * inputs * int64_t(site.projections.size())
             : kind == Kind::Stored   ? aligned(bytes)
                                      : bytes;
    };
    edge::LinearOp projection = site.projections.front();
    add(projection, projection.outputChannels(), kept * site.unit);
    for (edge::LinearOp maker : site.makers)
      add(maker, maker.outputChannels() / site.units() * kept, maker.inputChannels());
    if (kind == Kind::Stored && addsBias && kept < site.units())
      sum += aligned(projection.outputChannels() * int64_t(sizeof(float)));
    for (Value state : site.states)
      sum += kind == Kind::Read ? cacheBytes(state) / site.units() * kept : 0;
    return sum;
  }

private:
  int64_t cacheBytes(Value state) const {
    auto type = cast<RankedTensorType>(state.getType());
    SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(state.getParentBlock()->getParentOp());
    int64_t bytes = edge::maxElements(type, symbols) * edge::elementBytes(type.getElementType());
    for (edge::SymbolAttr symbol : symbols)
      if (symbol.getRole() == edge::SymbolRole::Capacity && symbol.getMax() > kContext)
        bytes = bytes / symbol.getMax() * kContext;
    if (!cache || type.getRank() != 4)
      return bytes;
    // Scales and least numbers lie beside the numbers.
    int64_t dim = type.getDimSize(3), rows = bytes / (dim * edge::elementBytes(type.getElementType()));
    switch (*cache) {
    case CacheType::F32: return rows * dim * 4;
    case CacheType::F16: return rows * dim * 2;
    case CacheType::Int8: return rows * (dim + 2);
    case CacheType::Int4: return rows * dim / 2 + rows * dim / 8;
    }
    return bytes;
  }

  Kind kind;
  PackedWeights weights;
  std::optional<CacheType> cache;
  bool addsBias;
};

struct PruneToSize : impl::PruneToSizeBase<PruneToSize> {
  using PruneToSizeBase::PruneToSizeBase;
  PruneToSize(const PruneToSizeOptions &options, Calibrator *calibrator) : PruneToSizeBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    if (failed(reported(getOperation(), run())))
      signalPassFailure();
  }

private:
  llvm::Error run() {
    if (size.empty() == (speed == 0))
      return llvm::createStringError("pruning to a size or speed: give one of the two");
    if (size.empty() && !(speed > 1))
      return llvm::createStringError("pruning to a speed: a factor is above 1, not " + shortText(speed));
    SizeTarget target{0, 1 / speed};
    if (!size.empty()) {
      auto parsed = parseSizeTarget(size);
      if (!parsed)
        return llvm::createStringError("pruning to a size: " + llvm::toString(parsed.takeError()));
      target = *parsed;
    }
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main)
      return llvm::createStringError("pruning needs the function 'main'");
    auto before = count(main);
    if (!before)
      return before.takeError();
    int64_t whole = before->whole(main), allowed = target.bytes ? target.bytes : int64_t(double(whole) * target.factor);
    if (layers > 0) {
      PruneLayersOptions options;
      options.count = layers;
      options.importance = layersBy;
      options.compensation = compensation;
      OpPassManager first(ModuleOp::getOperationName());
      first.addPass(createPruneLayers(options, calibrator));
      if (failed(runPipeline(first, getOperation())))
        return llvm::createStringError("pruning stops: the layers cannot go");
    }
    ChannelGroups channels;
    HeadGroups heads;
    auto find = [&](func::FuncOp function) {
      return std::vector<Sites>{headSites(function, heads), channelSites(function, channels)};
    };
    auto goal = [&](ArrayRef<Site>) -> llvm::Expected<Goal> {
      auto now = count(main);
      if (!now)
        return now.takeError();
      int64_t left = now->whole(main);
      return Goal{now->unit(), left, allowed,
                  [scale = std::move(*now)](const Site &site, int64_t kept) { return scale.of(site, kept); }};
    };
    if (llvm::Error error = pruneSites(getOperation(), {importance, compensation, spread, 0, goal}, calibrator, find))
      return error;
    auto after = count(main);
    if (!after)
      return after.takeError();
    emitRemark(main.getLoc()) << after->whole(main) << " " << after->unit() << " of " << whole << ", and " << allowed
                              << " may be";
    return llvm::Error::success();
  }

  llvm::Expected<Scale> count(func::FuncOp main) {
    auto weights = PackedWeights::of(getOperation(), arch, scheme, quantized);
    if (!weights)
      return weights.takeError();
    bool isCached = llvm::any_of(llvm::seq(main.getNumArguments()),
                                 [&](unsigned i) { return main.getArgAttr(i, edge::EdgeDialect::kStateAttr) != nullptr; });
    Scale::Kind kind = !size.empty() ? Scale::Kind::Stored : isCached ? Scale::Kind::Read : Scale::Kind::Multiplied;
    return Scale(kind, std::move(*weights), cache, compensation != "none");
  }

  Calibrator *calibrator = nullptr;
};

} // namespace

std::unique_ptr<Pass> createPruneToSize(const PruneToSizeOptions &options, Calibrator *calibrator) {
  return std::make_unique<PruneToSize>(options, calibrator);
}

} // namespace edgecc

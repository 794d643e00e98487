//===- FuseElementwise.cpp - Chains of elementwise ops become one -----------===//
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/Passes.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_FUSEELEMENTWISE
#include "passes/Passes.h.inc"

namespace {

// More streams than this at once defeat the prefetchers and the vectorizer's alias checks.
constexpr unsigned kMaxOperands = 12;
// Each fusion copies the bodies, so that chains without a limit take quadratic time. A loop of this length gains nothing by more.
constexpr unsigned kMaxOperations = 256;

bool worthFusing(OpOperand *consumerOperand) {
  Operation *producer = consumerOperand->get().getDefiningOp();
  Operation *consumer = consumerOperand->getOwner();
  // A second reader would compute it twice.
  if (!producer->hasOneUse())
    return false;
  auto operations = [](Operation *op) { return op->getRegion(0).front().getOperations().size(); };
  if (operations(producer) + operations(consumer) > kMaxOperations)
    return false;
  // A reduction over a recomputed chain is fine; a broadcast would compute the chain once for each copy.
  auto generic = cast<linalg::GenericOp>(consumer);
  AffineMap map = generic.getMatchingIndexingMap(consumerOperand);
  if (map.getNumResults() < map.getNumDims() && producer->getNumOperands() > 1) {
    bool cheap = llvm::hasNItemsOrLess(producer->getRegion(0).front().without_terminator(), 2);
    if (!cheap)
      return false;
  }
  return producer->getNumOperands() + consumer->getNumOperands() <= kMaxOperands;
}

struct FuseElementwise : impl::FuseElementwiseBase<FuseElementwise> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    linalg::populateElementwiseOpsFusionPatterns(patterns, worthFusing);
    // Folding would turn symbolic sizes of tensor.empty into casts: only the fusion is wanted here.
    GreedyRewriteConfig config;
    config.enableFolding(false).enableConstantCSE(false);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns), config)))
      signalPassFailure();
  }
};

} // namespace
} // namespace edgecc

//===- FuseEpilogues.cpp - Elementwise work moves into the linear before it -===//
//
// Bias, activation, gate and residual are done on sums that are still in registers, instead of in another pass over memory.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Shape.h"
#include "mlir/IR/IRMapping.h"
#include "passes/Passes.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_FUSEEPILOGUES
#include "passes/Passes.h.inc"

namespace {

bool sameShape(RankedTensorType a, RankedTensorType b) {
  return a.getShape() == b.getShape() && a.getEncoding() == b.getEncoding();
}

/// (..., d_last) with zeros before: one value per channel.
bool isPerChannel(AffineMap map, RankedTensorType type, int64_t channels) {
  if (map.getNumResults() == 0 || !type.hasStaticShape() || type.getNumElements() != channels)
    return false;
  for (AffineExpr leading : map.getResults().drop_back())
    if (!isa<AffineConstantExpr>(leading))
      return false;
  auto last = dyn_cast<AffineDimExpr>(map.getResults().back());
  return last && last.getPosition() == map.getNumDims() - 1 && type.getShape().back() == channels;
}

struct FuseEpilogues : impl::FuseEpiloguesBase<FuseEpilogues> {
  void runOnOperation() override {
    SmallVector<edge::LinearOp> linears(getOperation().getOps<edge::LinearOp>());
    for (edge::LinearOp linear : linears)
      while (auto generic = consumerOf(linear))
        linear = fuse(linear, generic);
  }

private:
  /// The only reader of a linear, if it can move into the epilogue.
  static linalg::GenericOp consumerOf(edge::LinearOp linear) {
    Value sums = linear.getResult();
    if (sums.use_empty())
      return {};
    auto generic = dyn_cast<linalg::GenericOp>(*sums.user_begin());
    if (!generic || llvm::any_of(sums.getUsers(), [&](Operation *user) { return user != generic; }) ||
        generic.getNumResults() != 1 || generic.getNumParallelLoops() != generic.getNumLoops())
      return {};
    auto result = cast<RankedTensorType>(generic.getResult(0).getType());
    if (!sameShape(result, linear.getResult().getType()) || !generic.getIndexingMapsArray().back().isIdentity())
      return {};
    // The epilogue knows no position, and there is no old result to read.
    Block &body = generic.getRegion().front();
    if (!body.getArguments().back().use_empty() ||
        llvm::any_of(body, [](Operation &op) { return op.getNumRegions() || isa<linalg::IndexOp>(op); }))
      return {};
    for (OpOperand *input : generic.getDpsInputOperands()) {
      auto type = dyn_cast<RankedTensorType>(input->get().getType());
      AffineMap map = generic.getMatchingIndexingMap(input);
      bool fits = type && ((map.isIdentity() && sameShape(type, result)) ||
                           (input->get() != sums && isPerChannel(map, type, linear.outputChannels())));
      if (!fits)
        return {};
    }
    for (Operation &op : body)
      for (Value operand : op.getOperands())
        if (operand.getParentRegion() != &generic.getRegion() &&
            !(operand.getDefiningOp() && operand.getDefiningOp()->hasTrait<OpTrait::ConstantLike>()))
          return {};
    return generic;
  }

  static edge::LinearOp fuse(edge::LinearOp linear, linalg::GenericOp generic) {
    OpBuilder builder(generic);
    Location loc = generic.getLoc();
    SmallVector<Value> extras(linear.getExtras());
    SmallVector<Value> added;
    for (OpOperand *input : generic.getDpsInputOperands()) {
      if (input->get() == linear.getResult())
        continue;
      auto type = cast<RankedTensorType>(input->get().getType());
      Value extra = input->get();
      if (!generic.getMatchingIndexingMap(input).isIdentity() && type.getRank() != 1)
        extra =
            edge::ReshapeOp::create(builder, loc, RankedTensorType::get({linear.outputChannels()}, type.getElementType()), extra);
      added.push_back(extra);
    }
    llvm::append_range(extras, added);
    auto fused =
        edge::LinearOp::create(builder, builder.getFusedLoc({linear.getLoc(), loc}), generic.getResult(0).getType(),
                               linear.getInput(), linear.getWeight(), linear.getScales(), linear.getZeros(), linear.getOutliers(),
                               linear.getOutlierWeights(), extras, linear.getLayout(), linear.getQuantizationAttr());
    fused->setDiscardableAttrs(linear->getDiscardableAttrDictionary());

    Block &block = fused.getEpilogue().emplaceBlock();
    block.addArgument(builder.getF32Type(), loc);
    for (Value extra : extras)
      block.addArgument(cast<RankedTensorType>(extra.getType()).getElementType(), loc);
    builder.setInsertionPointToStart(&block);
    // What the linear gave so far.
    Value sums = block.getArgument(0);
    if (!linear.getEpilogue().empty()) {
      Block &before = linear.getEpilogue().front();
      IRMapping mapping;
      mapping.map(before.getArguments(), block.getArguments().take_front(before.getNumArguments()));
      for (Operation &op : before.without_terminator())
        builder.clone(op, mapping);
      sums = mapping.lookupOrDefault(before.getTerminator()->getOperand(0));
    } else if (Type element = linear.getResult().getType().getElementType(); !element.isF32()) {
      sums = arith::TruncFOp::create(builder, loc, element, sums);
    }
    // What becomes of it.
    Block &body = generic.getRegion().front();
    IRMapping mapping;
    unsigned next = linear.getExtras().size() + 1;
    for (auto [input, arg] : llvm::zip(generic.getDpsInputOperands(), body.getArguments()))
      mapping.map(arg, input->get() == linear.getResult() ? sums : Value(block.getArgument(next++)));
    for (Operation &op : body.without_terminator())
      builder.clone(op, mapping);
    edge::YieldOp::create(builder, loc, mapping.lookupOrDefault(body.getTerminator()->getOperand(0)));

    generic.getResult(0).replaceAllUsesWith(fused.getResult());
    generic.erase();
    linear.erase();
    return fused;
  }
};

} // namespace
} // namespace edgecc

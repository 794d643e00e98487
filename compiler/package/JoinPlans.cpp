//===- JoinPlans.cpp --------------------------------------------------------===//
#include "compiler/package/JoinPlans.h"
#include "dialects/edge/EdgeDialect.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace llvm;
namespace edgecc {
namespace {

/// The ops of a plan in order, without the steps: these become code.
SmallVector<mlir::Operation *> statedOps(plan::ModelOp plan) {
  SmallVector<mlir::Operation *> ops;
  plan->walk<mlir::WalkOrder::PreOrder>([&](mlir::Operation *op) {
    if (!isa<plan::StepOp>(op))
      ops.push_back(op);
  });
  return ops;
}

/// What an op says, without what code alone must know: the size of the arena, and places in it.
mlir::DictionaryAttr statementOf(mlir::Operation *op) {
  mlir::NamedAttrList attributes(op->getAttrDictionary());
  if (auto entry = dyn_cast<plan::EntryOp>(op))
    attributes.erase(entry.getArenaAttrName());
  if (auto leave = dyn_cast<plan::LeaveOp>(op))
    attributes.erase(leave.getConfidenceAttrName());
  return attributes.getDictionary(op->getContext());
}

std::string describe(mlir::Operation *op) {
  return TypeSwitch<mlir::Operation *, std::string>(op)
      .Case([](plan::ModelOp) { return "the model's name, facts or layers"; })
      .Case([](plan::StateOp state) { return ("state '" + state.getName() + "'").str(); })
      .Case([](plan::WeightOp weight) { return ("weight '" + weight.getName() + "' at " + Twine(weight.getOffset())).str(); })
      .Case([](plan::ExitOp exit) { return ("the exit after layer " + Twine(exit.getLayer())).str(); })
      .Case([](plan::EntryOp entry) { return ("entry '" + entry.getName() + "'").str(); })
      .Case([](plan::TensorOp tensor) {
    return ("tensor '" + tensor.getName() + "' of entry '" + cast<plan::EntryOp>(tensor->getParentOp()).getName() + "'").str();
  }).Default([](mlir::Operation *op) { return op->getName().getStringRef().str(); });
}

/// Says where two plans begin to differ; empty if they agree.
std::string firstDifference(mlir::ModuleOp first, mlir::ModuleOp other, plan::ModelOp firstPlan, plan::ModelOp otherPlan) {
  if (first->getAttr(edge::EdgeDialect::kSymbolsAttr) != other->getAttr(edge::EdgeDialect::kSymbolsAttr))
    return "the symbols";
  SmallVector<mlir::Operation *> ops = statedOps(firstPlan), otherOps = statedOps(otherPlan);
  for (auto [a, b] : llvm::zip(ops, otherOps))
    if (a->getName() != b->getName() || statementOf(a) != statementOf(b) ||
        a->getParentOp()->getName() != b->getParentOp()->getName())
      return describe(a);
  size_t common = std::min(ops.size(), otherOps.size());
  if (ops.size() != otherOps.size())
    return describe(ops.size() > common ? ops[common] : otherOps[common]) + ", which only one of them has";
  return "";
}

} // namespace

Expected<plan::ModelOp> joinPlans(ArrayRef<mlir::ModuleOp> variants, ArrayRef<CodeImage> images) {
  if (variants.size() != std::max<size_t>(images.size(), 1))
    return createStringError("there are %zu memory plans for %zu code images; this is a bug in edgecc", variants.size(),
                             images.size());
  auto joined = findPlan(variants.front());
  if (!joined)
    return joined;
  for (auto [i, module] : llvm::enumerate(variants.drop_front())) {
    auto plan = findPlan(module);
    if (!plan)
      return plan;
    if (std::string where = firstDifference(variants.front(), module, *joined, *plan); !where.empty())
      return createStringError("the memory plans of the variants '" + images.front().variant->name + "' and '" +
                               images[i + 1].variant->name + "' disagree at " + where +
                               "; they may differ in code, steps and arenas only, so this is a bug in edgecc "
                               "(--variant makes a file for one of them)");
    for (auto [entry, other] :
         llvm::zip_equal(joined->getBody().getOps<plan::EntryOp>(), plan->getBody().getOps<plan::EntryOp>()))
      entry.setArena(std::max(entry.getArena(), other.getArena()));
  }
  return joined;
}

} // namespace edgecc

//===- ExitEntries.cpp - What else a model with exits can be asked ----------===//
#include "passes/lower/ExitEntries.h"
#include "dialects/edge/Checked.h"
#include "dialects/edge/Shape.h"
#include "passes/Passes.h"
#include "passes/earlyexit/KeptStates.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
namespace edgecc::lower {
namespace {

Operation *endOf(func::FuncOp function) { return function.front().getTerminator(); }

bool isState(func::FuncOp function, OpOperand &result) {
  return bool(function.getResultAttr(result.getOperandNumber(), edge::EdgeDialect::kStateAttr));
}

/// The argument that is the same state as this result.
Value argumentOf(func::FuncOp function, OpOperand &result) {
  Attribute number = function.getResultAttr(result.getOperandNumber(), edge::EdgeDialect::kStateAttr);
  for (BlockArgument arg : function.getArguments())
    if (function.getArgAttr(arg.getArgNumber(), edge::EdgeDialect::kStateAttr) == number)
      return arg;
  return {};
}

/// All that is computed from `value`.
DenseSet<Value> dependentsOf(Value value) {
  DenseSet<Value> found{value};
  SmallVector<Value> work{value};
  while (!work.empty())
    for (Operation *user : work.pop_back_val().getUsers()) {
      // What uses it inside of a region is what the op around computes.
      while (user->getBlock() != value.getParentBlock())
        user = user->getParentOp();
      for (Value result : user->getResults())
        if (found.insert(result).second)
          work.push_back(result);
    }
  return found;
}

/// From the hidden states that exit `number` has kept on: the layers before it are not there.
void resume(func::FuncOp function, int64_t number) {
  edge::ExitOp exit;
  for (edge::ExitOp it : function.getOps<edge::ExitOp>())
    if (int64_t(it.getNumber()) == number)
      exit = it;
  auto kept = exit.getKept().getDefiningOp<edge::AppendOp>();
  Value hidden = kept.getRows().getDefiningOp<edge::ReshapeOp>().getInput();
  Value argument = kept.getState();
  // What an exit before it would have left for those behind is not there either.
  while (auto before = argument.getDefiningOp<edge::AppendOp>()) {
    argument = before.getState();
    before.getResult().replaceAllUsesWith(argument);
  }
  OpBuilder builder(exit);
  builder.setInsertionPointAfterValue(hidden);
  Value read = earlyexit::readKept(builder, exit.getLoc(), argument, cast<RankedTensorType>(hidden.getType()),
                                   kept.getPosition().getResult(0));
  hidden.replaceAllUsesExcept(read, kept.getRows().getDefiningOp());
  DenseSet<Value> later = dependentsOf(read);
  for (OpOperand &result : endOf(function)->getOpOperands())
    if (isState(function, result) && !later.contains(result.get()))
      result.set(argumentOf(function, result));
  dropExits(function);
  function->setAttr(edge::EdgeDialect::kResumesAttr, builder.getI64IntegerAttr(number));
}

/// What the skipped layers' caches still need, and nothing else: no inputs, no outputs.
void keepFill(func::FuncOp function) {
  Operation *end = endOf(function);
  DenseSet<unsigned> kept;
  for (edge::ExitOp exit : function.getOps<edge::ExitOp>())
    for (OpOperand &use : exit.getKept().getUses())
      if (use.getOwner() == end)
        kept.insert(use.getOperandNumber());
  dropExits(function);
  for (OpOperand &result : end->getOpOperands()) {
    // Hidden states are written by calls that end early, and by fills for the next exit.
    if (!isState(function, result) || kept.contains(result.getOperandNumber()))
      continue;
    auto own = result.get().getDefiningOp<edge::AppendOp>();
    bool filled = own && own.getState().getDefiningOp<edge::AppendOp>();
    result.set(filled ? own.getState() : argumentOf(function, result));
  }
  for (int64_t i = int64_t(end->getNumOperands()) - 1; i >= 0; --i)
    if (!function.getResultAttr(i, edge::EdgeDialect::kStateAttr)) {
      end->eraseOperand(i);
      (void)function.eraseResult(i);
    }
  eraseDead(function);
  llvm::BitVector inputs(function.getNumArguments());
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    inputs[i] = !function.getArgAttr(i, edge::EdgeDialect::kStateAttr);
  (void)function.eraseArguments(inputs);
  function->removeAttr("edge.advance");
  function->removeAttr(edge::kCheckedAttr);
  function->removeAttr(edge::kSizesAttr);
  function->setAttr(edge::EdgeDialect::kFillsAttr, UnitAttr::get(function.getContext()));
}

} // namespace

void eraseDead(func::FuncOp function) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.front())))
    if (isOpTriviallyDead(&op))
      op.erase();
}

void dropExits(func::FuncOp function) {
  for (edge::ExitOp exit : llvm::to_vector(function.getOps<edge::ExitOp>())) {
    if (exit.getKept()) {
      auto kept = exit.getKept().getDefiningOp<edge::AppendOp>();
      kept.getResult().replaceAllUsesWith(kept.getState());
    }
    exit.erase();
  }
  eraseDead(function);
}

void addExitEntries(func::FuncOp main, function_ref<func::FuncOp(func::FuncOp, const Twine &)> copy) {
  SmallVector<edge::ExitOp> exits(main.getOps<edge::ExitOp>());
  if (exits.empty() || !exits.front().getKept())
    return;
  auto points = main->getParentOfType<ModuleOp>()->getAttrOfType<ArrayAttr>(edge::EdgeDialect::kExitsAttr);
  for (edge::ExitOp exit : exits)
    if (exit->hasAttr(earlyexit::kVerifiedAttr)) {
      auto point = cast<edge::ExitPointAttr>(points[exit.getNumber()]);
      resume(copy(main, "verify." + Twine(point.getLayer())), exit.getNumber());
    }
  keepFill(copy(main, "fill"));
}

} // namespace edgecc::lower

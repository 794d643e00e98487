//===- DropStates.cpp -------------------------------------------------------===//
#include "passes/prune/DropStates.h"
#include "dialects/edge/EdgeDialect.h"
#include "passes/lower/ExitEntries.h"

using namespace mlir;
namespace edgecc::prune {

/// The state argument behind a returned cache, if nothing but appends and the return touches it.
static BlockArgument onlyWritten(Value returned) {
  Value value = returned;
  while (value.hasOneUse()) {
    auto append = value.getDefiningOp<edge::AppendOp>();
    if (!append)
      break;
    value = append.getState();
  }
  auto state = dyn_cast<BlockArgument>(value);
  return state && state.hasOneUse() && state != returned ? state : BlockArgument();
}

void dropDead(func::FuncOp function) {
  lower::eraseDead(function);
  llvm::BitVector arguments(function.getNumArguments()), results(function.getNumResults());
  Operation *end = function.front().getTerminator();
  constexpr StringLiteral state = edge::EdgeDialect::kStateAttr;
  for (OpOperand &returned : end->getOpOperands())
    if (function.getResultAttr(returned.getOperandNumber(), state))
      if (BlockArgument argument = onlyWritten(returned.get())) {
        arguments.set(argument.getArgNumber());
        results.set(returned.getOperandNumber());
      }
  if (results.none())
    return;
  end->eraseOperands(results);
  lower::eraseDead(function);
  (void)function.eraseResults(results);
  (void)function.eraseArguments(arguments);

  llvm::DenseMap<int64_t, int64_t> numbers;
  Builder builder(function.getContext());
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (auto old = function.getArgAttrOfType<IntegerAttr>(i, state)) {
      int64_t number = numbers.size();
      numbers[old.getInt()] = number;
      function.setArgAttr(i, state, builder.getI64IntegerAttr(number));
    }
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    if (auto old = function.getResultAttrOfType<IntegerAttr>(i, state))
      function.setResultAttr(i, state, builder.getI64IntegerAttr(numbers.lookup(old.getInt())));
}

} // namespace edgecc::prune

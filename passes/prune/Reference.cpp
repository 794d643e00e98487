//===- Reference.cpp --------------------------------------------------------===//
#include "passes/prune/Reference.h"
#include "dialects/edge/EdgeDialect.h"
#include "mlir/IR/Builders.h"
#include "passes/earlyexit/Layers.h"

using namespace mlir;
namespace edgecc::prune {

Reference::Reference(func::FuncOp function, Operation *start) : function(function), arguments(function.getNumArguments()) {
  Builder builder(function.getContext());
  for (BlockArgument state : SmallVector<BlockArgument>(function.getArguments())) {
    NamedAttrList attributes(function.getArgAttrDict(state.getArgNumber()));
    if (!attributes.get(edge::EdgeDialect::kStateAttr))
      continue;
    unsigned at = function.getNumArguments();
    // Numbers of its own; whatever is executed counts those that are left.
    attributes.set(edge::EdgeDialect::kStateAttr, builder.getI64IntegerAttr(at));
    auto name = cast<StringAttr>(attributes.get(edge::EdgeDialect::kNameAttr));
    attributes.set(edge::EdgeDialect::kNameAttr, builder.getStringAttr(name.getValue() + ".whole"));
    (void)function.insertArgument(at, state.getType(), attributes.getDictionary(function.getContext()), state.getLoc());
    mapping.map(state, function.getArgument(at));
  }
  for (Operation &op : llvm::make_early_inc_range(function.front().without_terminator())) {
    bool depends = &op == start || llvm::any_of(earlyexit::readBy(&op), [&](Value value) { return mapping.contains(value); });
    if (!depends)
      continue;
    OpBuilder behind(function.getContext());
    behind.setInsertionPointAfter(&op);
    copies.push_back(behind.clone(op, mapping));
  }
}

void Reference::remove() {
  for (Operation *copy : llvm::reverse(copies))
    copy->erase();
  llvm::BitVector added(function.getNumArguments());
  added.set(arguments, function.getNumArguments());
  (void)function.eraseArguments(added);
}

} // namespace edgecc::prune

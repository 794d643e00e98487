//===- Epilogue.cpp ---------------------------------------------------------===//
#include "passes/lower/Epilogue.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
namespace edgecc::lower {

static bool matchConstant(Value value) {
  Operation *def = value.getDefiningOp();
  return def && def->hasTrait<OpTrait::ConstantLike>();
}

LogicalResult Epilogue::check() {
  if (op.getEpilogue().empty())
    return success();
  for (Operation &inner : op.getEpilogue().front().without_terminator()) {
    vectorizes &= inner.hasTrait<OpTrait::ConstantLike>() || OpTrait::hasElementwiseMappableTraits(&inner);
    if (inner.getNumRegions())
      return op.emitOpError("has an epilogue with a region in it: ") << inner.getName();
    for (Value operand : inner.getOperands())
      if (operand.getParentRegion() != &op.getEpilogue() && !matchConstant(operand))
        return op.emitOpError("has an epilogue that captures a value which is no constant");
  }
  return success();
}

bool Epilogue::isLong() const {
  if (op.getEpilogue().empty())
    return false;
  Block &block = op.getEpilogue().front();
  constexpr unsigned kFew = 8;
  return !llvm::hasNItemsOrLess(block, kFew) ||
         llvm::any_of(block, [](Operation &inner) { return isa<math::MathDialect>(inner.getDialect()); });
}

Var Epilogue::apply(Code &code, ArrayRef<Value> extras, Var place, Var column, Var sums, std::optional<Var> given) const {
  if (op.getEpilogue().empty())
    return sums;
  auto vector = dyn_cast<VectorType>(sums.type());
  int64_t count = vector ? vector.getNumElements() : 1;
  Block &block = op.getEpilogue().front();
  SmallVector<Var> inputs{sums};
  for (auto [extra, buffer, arg] : llvm::zip(op.getExtras(), extras, block.getArguments().drop_front())) {
    bool perChannel = cast<RankedTensorType>(extra.getType()).getRank() == 1 && op.getResult().getType().getRank() != 1;
    Var element = buffer ? code.loadRaw(buffer, perChannel ? column : place, count) : *given;
    if (arg.getType().isInteger(1))
      element = code.var(arith::CmpIOp::create(code, arith::CmpIPredicate::ne, element, element.same(0)));
    inputs.push_back(element);
  }
  if (count == 1 || vectorizes)
    return inlineRegion(code, inputs, count);
  Type element = block.getTerminator()->getOperand(0).getType();
  Var result = code.splat(code.var(arith::ConstantOp::create(code, cast<TypedAttr>(code.getZeroAttr(element)))), count);
  for (int64_t lane = 0; lane < count; ++lane) {
    SmallVector<Var> scalars;
    for (Var input : inputs)
      scalars.push_back(code.extract(input, lane));
    result = code.var(vector::InsertOp::create(code, inlineRegion(code, scalars, 1), result, lane));
  }
  return result;
}

Var Epilogue::inlineRegion(Code &code, ArrayRef<Var> inputs, int64_t count) const {
  Block &block = op.getEpilogue().front();
  IRMapping mapping;
  for (auto [arg, input] : llvm::zip(block.getArguments(), inputs))
    mapping.map(arg, Value(input));
  auto wide = [&](Type type) { return count == 1 ? type : Type(VectorType::get({count}, type)); };
  auto mapped = [&](Value value) {
    if (!mapping.contains(value)) {
      auto constant = code.var(code.clone(*value.getDefiningOp())->getResult(0));
      mapping.map(value, Value(code.splat(constant, count)));
    }
    return mapping.lookup(value);
  };
  for (Operation &inner : block.without_terminator()) {
    if (inner.hasTrait<OpTrait::ConstantLike>())
      continue;
    SmallVector<Value> operands = llvm::map_to_vector(inner.getOperands(), mapped);
    OperationState state(inner.getLoc(), inner.getName());
    state.addOperands(operands);
    state.addTypes(llvm::map_to_vector(inner.getResultTypes(), wide));
    state.addAttributes(inner.getAttrs());
    Operation *clone = code.create(state);
    mapping.map(inner.getResults(), clone->getResults());
  }
  return code.var(mapped(block.getTerminator()->getOperand(0)));
}

} // namespace edgecc::lower

//===- Substitution.cpp - Symbols get values ----------------------------------===//
#include "passes/lower/Substitution.h"
#include "passes/Passes.h"

using namespace mlir;
namespace edgecc::lower {

Substitution::Substitution(MLIRContext *context, ArrayRef<std::pair<unsigned, AffineExpr>> values)
    : context(context), values(values) {
  replacer.addReplacement([this](RankedTensorType type) -> std::optional<std::pair<Type, WalkResult>> {
    if (!isa_and_nonnull<AffineMapAttr>(type.getEncoding()))
      return std::nullopt;
    return std::pair<Type, WalkResult>(of(type), WalkResult::skip());
  });
  replacer.addReplacement([this](AffineMapAttr map) -> std::optional<std::pair<Attribute, WalkResult>> {
    if (map.getValue().getNumDims() != 0)
      return std::nullopt;
    edge::SymbolicShape sizes;
    for (AffineExpr expr : map.getValue().getResults())
      sizes.push_back(of(expr));
    return std::pair<Attribute, WalkResult>(AffineMapAttr::get(edge::symbolMap(sizes, this->context)), WalkResult::skip());
  });
}

AffineExpr Substitution::of(AffineExpr size) const {
  DenseMap<AffineExpr, AffineExpr> map;
  for (auto [number, value] : values)
    map[getAffineSymbolExpr(number, context)] = value;
  return edge::canonical(size.replace(map));
}

RankedTensorType Substitution::of(RankedTensorType type) const {
  edge::SymbolicShape shape;
  for (AffineExpr size : edge::shapeOf(type))
    shape.push_back(of(size));
  return edge::tensorType(shape, type.getElementType());
}

// Sizes that became constants are no operands any more.
static void renewSizes(tensor::EmptyOp empty) {
  OpBuilder builder(empty);
  SmallVector<Value> sizes;
  for (auto [size, expr] : llvm::zip(empty.getType().getShape(), edge::shapeOf(empty.getType())))
    if (ShapedType::isDynamic(size))
      sizes.push_back(edge::materialize(builder, empty.getLoc(), expr));
  empty.getDynamicSizesMutable().assign(sizes);
}

// A body goes on seeing the types it was written for.
static void retypeBuffers(edge::KernelOp kernel) {
  OpBuilder builder = OpBuilder::atBlockBegin(&kernel.getBody().front());
  SmallVector<Type> tensors(kernel.getIns().getTypes());
  llvm::append_range(tensors, kernel.getOutputs().getTypes());
  for (auto [arg, tensor] : llvm::zip(kernel.bufferArgs(), tensors)) {
    Type wanted = edge::bufferType(cast<RankedTensorType>(tensor)), old = arg.getType();
    if (wanted == old)
      continue;
    BlockArgument buffer = arg;
    buffer.setType(wanted);
    auto cast = memref::CastOp::create(builder, kernel.getLoc(), old, buffer);
    buffer.replaceAllUsesExcept(cast, cast);
  }
}

void Substitution::run(Operation *op) {
  op->walk([&](edge::DimOp dim) {
    AffineExpr symbol = getAffineSymbolExpr(dim.getSymbol(), context), value = of(symbol);
    if (value == symbol)
      return;
    OpBuilder builder(dim);
    dim.replaceAllUsesWith(edge::materialize(builder, dim.getLoc(), value));
    dim.erase();
  });
  replacer.recursivelyReplaceElementsIn(op, /*replaceAttrs=*/true, /*replaceLocs=*/false, /*replaceTypes=*/true);
  op->walk([&](tensor::EmptyOp empty) { renewSizes(empty); });
  op->walk([&](edge::KernelOp kernel) { retypeBuffers(kernel); });
}

} // namespace edgecc::lower

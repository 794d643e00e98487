//===- SpecializeEntries.cpp - A prompt and one token are different programs ===//
//
// A step of generation has one token: its matrix products are matrix-vector products, its masks are empty, its sizes are
// constants. Of a prompt only the last token's logits are read. Compiling these apart from the whole costs little (kernels that
// are equal are shared) and lets every kernel know.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Shape.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "passes/Passes.h"
#include "passes/lower/LastToken.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_SPECIALIZEENTRIES
#include "passes/Passes.h.inc"

namespace {

// All types and maps of a function with symbol `number` = `value`.
class Specializer {
public:
  Specializer(MLIRContext *context, unsigned number, int64_t value) : context(context), number(number), value(value) {
    replacer.addReplacement([this](RankedTensorType type) -> std::optional<std::pair<Type, WalkResult>> {
      auto encoding = dyn_cast_or_null<AffineMapAttr>(type.getEncoding());
      if (!encoding)
        return std::nullopt;
      return std::pair<Type, WalkResult>(edge::tensorType(substitute(encoding.getValue()), type.getElementType()),
                                         WalkResult::skip());
    });
    replacer.addReplacement([this](AffineMapAttr map) -> std::optional<std::pair<Attribute, WalkResult>> {
      if (map.getValue().getNumDims() != 0)
        return std::nullopt;
      return std::pair<Attribute, WalkResult>(AffineMapAttr::get(edge::symbolMap(substitute(map.getValue()), this->context)),
                                              WalkResult::skip());
    });
  }

  void run(func::FuncOp function) {
    function.walk([&](edge::DimOp dim) {
      if (dim.getSymbol() != number)
        return;
      OpBuilder builder(dim);
      dim.replaceAllUsesWith(arith::ConstantIndexOp::create(builder, dim.getLoc(), value).getResult());
      dim.erase();
    });
    replacer.recursivelyReplaceElementsIn(function, /*replaceAttrs=*/true, /*replaceLocs=*/false, /*replaceTypes=*/true);
    function.walk([&](tensor::EmptyOp empty) { dropStaticSizes(empty); });
    function.walk([&](edge::KernelOp kernel) { retypeBuffers(kernel); });
  }

private:
  edge::SymbolicShape substitute(AffineMap map) {
    SmallVector<AffineExpr> symbols;
    for (unsigned i = 0; i < map.getNumSymbols(); ++i)
      symbols.push_back(i == number ? getAffineConstantExpr(value, context) : getAffineSymbolExpr(i, context));
    edge::SymbolicShape result;
    for (AffineExpr expr : map.getResults())
      result.push_back(edge::canonical(expr.replaceSymbols(symbols)));
    return result;
  }

  // Sizes that became constants are no operands any more.
  void dropStaticSizes(tensor::EmptyOp empty) {
    OpBuilder builder(empty);
    SmallVector<Value> sizes;
    for (auto [size, expr] : llvm::zip(empty.getType().getShape(), edge::shapeOf(empty.getType())))
      if (ShapedType::isDynamic(size))
        sizes.push_back(edge::materialize(builder, empty.getLoc(), expr));
    empty.getDynamicSizesMutable().assign(sizes);
  }

  // A body goes on seeing the types it was written for.
  void retypeBuffers(edge::KernelOp kernel) {
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

  MLIRContext *context;
  unsigned number;
  int64_t value;
  AttrTypeReplacer replacer;
};

struct SpecializeEntries : impl::SpecializeEntriesBase<SpecializeEntries> {
  void runOnOperation() override {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    auto advance = main ? main->getAttrOfType<AffineMapAttr>("edge.advance") : AffineMapAttr();
    if (!advance)
      return;
    auto tokens = dyn_cast<AffineSymbolExpr>(advance.getValue().getResult(0));
    if (!tokens) {
      main.setName("decode");
      return;
    }
    auto copy = [&](StringRef name) {
      auto function = main.clone();
      function.setName(name);
      getOperation().push_back(function);
      return function;
    };
    func::FuncOp decode = copy("decode");
    Specializer(&getContext(), tokens.getPosition(), 1).run(decode);
    func::FuncOp score = copy("score");
    main.setName("prefill");
    if (!lower::keepLastToken(main, tokens))
      score.erase();
  }
};

} // namespace
} // namespace edgecc

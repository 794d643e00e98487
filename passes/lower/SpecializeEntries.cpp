//===- SpecializeEntries.cpp - A prompt and one token are different programs ===//
//
// A step of generation has one token: its matrix products are matrix-vector products, its masks are empty, its sizes are
// constants. Of a prompt only the last token's logits are read. Compiling these apart from the whole costs little (kernels that
// are equal are shared) and lets every kernel know.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Shape.h"
#include "passes/Passes.h"
#include "passes/lower/ExitEntries.h"
#include "passes/lower/LastToken.h"
#include "passes/lower/Substitution.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_SPECIALIZEENTRIES
#include "passes/Passes.h.inc"

namespace {

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
    auto copy = [&](func::FuncOp of, const Twine &name) {
      auto function = of.clone();
      function.setName(name.str());
      getOperation().push_back(function);
      return function;
    };
    // A model whose shapes need more tokens at once has no entry for one.
    if (edge::symbolsOf(getOperation())[tokens.getPosition()].getMin() <= 1) {
      func::FuncOp decode = copy(main, "decode");
      lower::Substitution(&getContext(), {{tokens.getPosition(), getAffineConstantExpr(1, &getContext())}}).run(decode);
    }
    lower::addExitEntries(main, copy);
    // Of many tokens some are sure and some are not: a prompt goes the whole way.
    lower::dropExits(main);
    func::FuncOp score = copy(main, "score");
    main.setName("prefill");
    if (!lower::keepLastToken(main, tokens))
      score.erase();
  }
};

} // namespace
} // namespace edgecc

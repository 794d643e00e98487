//===- OuterLoops.cpp -------------------------------------------------------===//
#include "passes/lower/OuterLoops.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
namespace edgecc {

/// Rounds of a loop times those of the loops in it; nothing if these are not known.
static std::optional<int64_t> roundsOf(scf::ForOp loop) {
  auto from = getConstantIntValue(loop.getLowerBound()), to = getConstantIntValue(loop.getUpperBound());
  auto step = getConstantIntValue(loop.getStep());
  if (!from || !to || !step || *step <= 0)
    return std::nullopt;
  int64_t inside = 1;
  for (auto inner : loop.getBody()->getOps<scf::ForOp>()) {
    auto rounds = roundsOf(inner);
    if (!rounds)
      return std::nullopt;
    inside = std::max(inside, *rounds);
  }
  return std::max<int64_t>(0, *to - *from) / *step * inside;
}

void keepOuterLoop(scf::ForOp loop) {
  // A small window of a pool is faster unrolled.
  constexpr int64_t kSmall = 32;
  if (!loop.getBody()->walk([](scf::ForOp) { return WalkResult::interrupt(); }).wasInterrupted())
    return;
  if (auto rounds = roundsOf(loop); rounds && *rounds <= kSmall)
    return;
  MLIRContext *context = loop.getContext();
  auto unroll = LLVM::LoopUnrollAttr::get(context, /*disable=*/BoolAttr::get(context, true), {}, {}, {}, {}, {}, {});
  // This is an attribute of llvm.br; the conversions carry it there.
  loop->setAttr("loop_annotation",
                LLVM::LoopAnnotationAttr::get(context, {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}));
}

} // namespace edgecc

//===- StoreBf16AsBits.cpp - bf16 leaves registers as an integer ------------===//
//
// Where LLVM's vectorizer stores lanes of a bf16 vector one by one, its x86 backend without bf16 instructions widens each lane to
// f32 and calls __truncsfbf2 to narrow it again. As i16 nothing is to be converted.
//
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_STOREBF16ASBITS
#include "passes/Passes.h.inc"

namespace {

struct StoreBf16AsBits : impl::StoreBf16AsBitsBase<StoreBf16AsBits> {
  void runOnOperation() override {
    getOperation()->walk([](LLVM::StoreOp store) {
      Type type = store.getValue().getType();
      if (!getElementTypeOrSelf(type).isBF16())
        return;
      OpBuilder builder(store);
      Type bits = builder.getI16Type();
      if (auto vector = dyn_cast<VectorType>(type))
        bits = vector.clone(bits);
      store.getValueMutable().assign(LLVM::BitcastOp::create(builder, store.getLoc(), bits, store.getValue()));
    });
  }
};

} // namespace
} // namespace edgecc

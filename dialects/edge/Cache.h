//===- Cache.h - The states behind a quantized cache ------------------------===//
//
// What was one state [batch, heads, capacity, dim] of floats is two. 8 bits:
//
//   numbers [batch, heads, capacity, dim] i8, -127 to 127
//   scales  [batch, heads, capacity] f16
//
// 4 bits, in groups of 32 tokens (Liu 2024, KIVI): x = scale * number + least, numbers 0 to 15. A stretch is 32 tokens of a
// channel (form channel), or 32 channels of a token, or as many as divide dim (form token); in the low nibbles of its bytes is
// its first half, in the high ones the second.
//
//   numbers [batch, heads, groups + 13, 16 * dim] i8: the stretches, by channel or by token; then, in 12 rows, recent tokens as
//           f16 [3, 32, dim], group g in block g % 3; then, in the last, which groups these are, i32 [3]
//   scales  [batch, heads, groups, 2 * stretches] f16: all scales, then all least numbers
//
// With `length` tokens, group g is read as numbers if g < length / 32 - 1, else from the recent rows: 32 tokens at least are
// floats. A session that goes back by up to 32 tokens finds the rows it had; if it goes back farther, an append makes rows that
// are gone from their numbers.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_DIALECTS_EDGE_CACHE_H
#define EDGECC_DIALECTS_EDGE_CACHE_H

#include "dialects/edge/Shape.h"

namespace edgecc::edge {

struct CacheLayout {
  explicit CacheLayout(CacheAttr cache)
      : bits(cache.getBits()), dim(cache.getDim()), byChannel(cache.getForm() == CacheForm::Channel) {}

  /// Tokens in a group, groups of recent tokens, and rows of numbers that these and their table take.
  static constexpr int64_t kGroup = 32, kBlocks = 3, kExtraRows = kBlocks * 4 + 1;

  /// Numbers in a stretch, and stretches in a group.
  int64_t stretch() const { return byChannel || dim % 32 == 0 ? 32 : dim % 16 == 0 ? 16 : 8; }
  int64_t stretches() const { return kGroup * dim / stretch(); }
  /// Bytes of a group's numbers.
  int64_t groupBytes() const { return kGroup / 2 * dim; }
  /// Bytes of a recent row.
  int64_t rowBytes() const { return 2 * dim; }

  /// The states that take the place of one of type [batch, heads, capacity, dim], numbers first.
  llvm::SmallVector<mlir::RankedTensorType> statesFor(mlir::RankedTensorType floats) const {
    SymbolicShape shape = shapeOf(floats);
    return states(shape[0], shape[1], bits == 8 ? shape[2] : canonical(shape[2].ceilDiv(kGroup)));
  }
  /// Those that go with numbers of a type.
  llvm::SmallVector<mlir::RankedTensorType> statesBeside(mlir::RankedTensorType numbers) const {
    SymbolicShape shape = shapeOf(numbers);
    return states(shape[0], shape[1], bits == 8 ? shape[2] : canonical(shape[2] - kExtraRows));
  }

  int64_t bits, dim;
  bool byChannel;

private:
  /// `count` tokens of 8 bits, or groups of 4.
  llvm::SmallVector<mlir::RankedTensorType> states(mlir::AffineExpr batch, mlir::AffineExpr heads, mlir::AffineExpr count) const {
    mlir::Builder builder(batch.getContext());
    mlir::Type i8 = builder.getI8Type(), f16 = builder.getF16Type();
    auto number = [&](int64_t value) { return builder.getAffineConstantExpr(value); };
    if (bits == 8)
      return {tensorType({batch, heads, count, number(dim)}, i8), tensorType({batch, heads, count}, f16)};
    return {tensorType({batch, heads, canonical(count + kExtraRows), number(groupBytes())}, i8),
            tensorType({batch, heads, count, number(2 * stretches())}, f16)};
  }
};

} // namespace edgecc::edge
#endif // EDGECC_DIALECTS_EDGE_CACHE_H

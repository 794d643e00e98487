//===- CacheGroups.h - A cache of 4 bits, for who writes and who reads it ---===//
#ifndef EDGECC_PASSES_LOWER_CACHEGROUPS_H
#define EDGECC_PASSES_LOWER_CACHEGROUPS_H

#include "dialects/edge/Cache.h"
#include "passes/kernels/Code.h"

namespace edgecc::lower {

/// Keys or values of one head.
class CacheGroups {
public:
  /// `type` is that of the numbers, `head` counts over all batches.
  CacheGroups(Code &code, mlir::RankedTensorType type, const edge::CacheLayout &layout, mlir::Value numbers, mlir::Value scales,
              Var head);

  /// The first group that is read from the recent rows, with `length` tokens in the cache.
  static Var firstRecent(Var length);

  /// Where a group's numbers (bytes) and scales (elements) begin.
  Var groupAt(Var group) const;
  Var scaleAt(Var group) const;
  /// The byte at which a token's recent row begins, and `count` of its elements from a byte on.
  Var recentAt(Var token) const;
  Var recent(Var at, int64_t count) const;
  /// The group whose recent rows are where this one's would be.
  Var held(Var group) const;
  void hold(Var group) const;

  /// The floats behind a group's numbers, stretch by stretch: [dim, 32] by channel, [32, dim] by token.
  void widen(Var group, mlir::Value to) const;
  /// [32, dim] in any form.
  void widenByToken(Var group, mlir::Value to) const;

  Code &code;
  const edge::CacheLayout layout;
  const mlir::Value numbers, scales;

private:
  void widenStretch(Var at, Var scale, Var least, mlir::Value to, Var toAt) const;

  Var groupRows, scaleRows, recentStart, heldStart;
};

} // namespace edgecc::lower
#endif // EDGECC_PASSES_LOWER_CACHEGROUPS_H

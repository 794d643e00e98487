//===- Activations.cpp - A left side in the order that a family wants -------===//
#include "passes/kernels/Quantized.h"

using namespace mlir;
namespace edgecc {

ActivationLayout::ActivationLayout(const Kernel &tallest, const edge::QuantizedPanel &panel, edge::ActivationPrecision precision,
                                   int64_t k)
    : k(k), size(panel.size), groups(panel.groups), perGroup(precision == edge::ActivationPrecision::Group && panel.groups > 1),
      corrections(panel.zeros) {
  const auto &family = static_cast<const DotFamily &>(tallest.family);
  floats = family.lhs.floats;
  elementBytes = family.lhs.elementBytes();
  excess = family.excess(panel);
  starts = excess != 0;
  together = family.lhs.rows;
  rows = family.lhs.isInterleaved() ? tallest.m : 1;
  chunk = family.lhs.chunk;
  segment = panel.groups > 1 && panel.size <= tallest.k ? panel.size : chunk;
  factor = family.factor(panel.bits);
  biased = family.isBiased(panel);
}

bool ActivationLayout::operator==(const ActivationLayout &other) const {
  auto all = [](const ActivationLayout &it) {
    return std::make_tuple(it.k, it.rows, it.together, it.chunk, it.segment, it.size, it.groups, it.perGroup, it.starts,
                           it.corrections, it.biased, it.factor, it.excess, it.floats);
  };
  return all(*this) == all(other);
}

namespace {

/// Elements of k in a step: whole chunks of any layout.
constexpr int64_t kStep = 16;
/// Below this the inverse of the scale would not be finite.
constexpr double kSmallest = 1e-30;

class Writer {
public:
  Writer(Code &code, const ActivationLayout &layout, Value to, const std::optional<OutlierValues> &outliers)
      : code(code), layout(layout), outliers(outliers), to(to) {
    if (outliers)
      kept = code.stack(layout.k);
  }

  /// A row of the input as row `i` of block `block`.
  void emit(Row row, Var i, Var block) {
    Var blockAt = block * layout.bytes();
    from = row.buffer, rowAt = row.at, sidesAt = blockAt + i * 4;
    numbersAt = blockAt + i / layout.together * (layout.together * layout.segment * layout.elementBytes) +
                i % layout.together * (layout.chunk * layout.elementBytes);
    if (outliers)
      takeOutliers(block * layout.rows + i);
    if (!layout.perGroup && !layout.floats)
      setScale(code.index(0), code.index(layout.k), code.index(0));
    int64_t whole = layout.k / layout.size;
    code.loop(code.index(0), code.index(whole), 1, [&](Var group) { emitGroup(group, layout.size); });
    if (int64_t rest = layout.k - whole * layout.size)
      emitGroup(code.index(whole), rest);
  }

private:
  /// Leaves a row without them on the stack: neither the scale nor the sums know of them.
  void takeOutliers(Var row) {
    code.sweep(code.index(layout.k), [&](Var k, int64_t count) { code.store(kept, k, code.load(from, rowAt + k, count)); });
    code.loop(code.index(0), code.index(outliers->count), 1, [&](Var index) {
      Var channel = code.toIndex(code.loadRaw(outliers->indices, index));
      code.store(outliers->to, row * outliers->count + index, code.load(from, rowAt + channel));
      code.store(kept, channel, code.f32(0));
    });
    from = kept, rowAt = code.index(0);
  }

  void setScale(Var begin, Var end, Var group) {
    Var at = rowAt + begin;
    Var highest = code.sweep(end - begin, Fold::Max, code.f32(0),
                             [&](Var i, int64_t count) { return abs(code.load(from, at + i, count)); });
    Var zero = highest < kSmallest;
    inverse = select(zero, code.f32(0), code.f32(127) / highest);
    scale = select(zero, code.f32(1), highest * (1.0 / 127)) * (1.0 / layout.factor);
    code.storeBytes(to, sideAt(layout.scalesAt(), group), scale);
  }

  /// Of the f32 or i32 of a group in a table beside the numbers.
  Var sideAt(int64_t table, Var group) { return sidesAt + group * (4 * layout.rows) + table; }

  /// Element `step + offset` of a group of this row; `step` is a multiple of kStep.
  Var numberAt(Var group, Var step, int64_t offset) {
    int64_t inStep = offset / layout.chunk * layout.chunk * layout.stride() + offset % layout.chunk * layout.elementBytes;
    return numbersAt + group * layout.groupBytes() + step * layout.stride() + inStep;
  }

  void storeStep(Var group, Var step, Var numbers) {
    for (int64_t offset = 0; offset < kStep; offset += layout.chunk)
      code.storeBytes(to, numberAt(group, step, offset),
                      layout.chunk == kStep
                          ? numbers
                          : code.shuffle(numbers, numbers, llvm::to_vector(llvm::seq(offset, offset + layout.chunk))));
  }

  /// What is summed up: integers (i32), or the floats as they are.
  Var number(Var x) {
    if (layout.floats)
      return x;
    Type i32 = code.getI32Type();
    Type type = isa<VectorType>(x.type()) ? Type(code.vectorOf(kStep, i32)) : i32;
    return code.var(arith::FPToSIOp::create(
        code, type, Value(round(x * (isa<VectorType>(x.type()) ? code.splat(inverse, kStep) : inverse)))));
  }

  void emitGroup(Var group, int64_t length) {
    Var begin = group * layout.size;
    if (layout.perGroup)
      setScale(begin, begin + length, group);
    int64_t whole = length / kStep * kStep;
    Var zero = layout.floats ? code.f32(0) : code.var(arith::ConstantIntOp::create(code, 0, 32));
    auto stored = [&](Var number) { return layout.floats ? number : code.convert(number, code.getI8Type()); };
    Var sums = code.loop(code.index(0), code.index(whole), kStep, {code.splat(zero, kStep)}, [&](Var i, ArrayRef<Var> carried) {
      Var numbers = number(code.load(from, rowAt + begin + i, kStep));
      storeStep(group, i, stored(numbers));
      return SmallVector<Var>{carried[0] + numbers};
    })[0];
    Var sum = layout.floats ? code.fold(Fold::Add, sums)
                            : code.var(vector::ReductionOp::create(code, vector::CombiningKind::ADD, Value(sums)));
    Var nothing = code.splat(stored(zero), kStep);
    for (int64_t at = whole; at < layout.size; at += kStep) {
      storeStep(group, code.index(at), nothing);
      for (int64_t i = at; i < std::min(length, at + kStep); ++i) {
        Var next = number(code.load(from, rowAt + begin + i));
        code.storeBytes(to, numberAt(group, code.index(at), i - at), stored(next));
        sum = sum + next;
      }
    }
    if (layout.starts)
      code.storeBytes(to, sideAt(layout.startsAt(), group), sum * double(-layout.excess));
    if (layout.corrections) {
      Var wide = layout.floats ? sum : code.var(arith::SIToFPOp::create(code, code.getF32Type(), Value(sum)));
      wide = wide * double(-layout.factor);
      code.storeBytes(to, sideAt(layout.correctionsAt(), group), layout.perGroup ? wide * scale : wide);
    }
  }

  Code &code;
  const ActivationLayout &layout;
  const std::optional<OutlierValues> &outliers;
  Value from, to, kept;
  Var rowAt, numbersAt, sidesAt, inverse, scale;
};

} // namespace

void emitActivations(Code &code, const ActivationLayout &layout, Var block, AffineExpr rows, function_ref<Row(Var)> from,
                     Value to, const std::optional<OutlierValues> &outliers) {
  Writer writer(code, layout, to, outliers);
  Var last = code.size(rows) - 1;
  // Rows that fill up a block are never stored: any row will do.
  Var at = block * layout.bytes();
  if (layout.biased)
    code.loop(code.index(0), code.index(layout.groups), 1, [&](Var group) {
      Var bias = code.splat(code.var(arith::ConstantIntOp::create(code, DotFamily::kBiasBits, 32)), 4);
      for (int64_t i = 0; i < ActivationLayout::kBiasLine; i += 16)
        code.storeBytes(to, at + group * layout.groupBytes() + (layout.biasAt() + i), bias);
    });
  code.loop(code.index(0), code.index(layout.rows), 1,
            [&](Var i) { writer.emit(from(min(block * layout.rows + i, last)), i, block); });
}

} // namespace edgecc

//===- Quantized.h - Products with quantized weights ------------------------===//
//
// A weight comes as panels (dialects/edge/Quantization.h), the left side as f32 or as int8 in the layout of ActivationLayout. A
// tile is made of cells: accumulators of some rows and `lanes` channels. Within a group of weights a cell has the form that its
// family likes; from group to group it is f32.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_KERNELS_QUANTIZED_H
#define EDGECC_PASSES_KERNELS_QUANTIZED_H

#include "dialects/edge/Quantization.h"
#include "passes/kernels/Kernels.h"

namespace edgecc {

/// The registers of a cell within a group.
using Cell = llvm::SmallVector<Var, 2>;

/// How a family wants its left side: `rows` rows are interleaved, `chunk` elements of each in turn.
struct LhsForm {
  bool floats;
  int64_t rows, chunk;
  int64_t loadBytes; ///< in one load: a register, or what is broadcast
  bool isInterleaved() const { return rows > 1; }
  int64_t elementBytes() const { return floats ? 4 : 1; }
};

class DotFamily : public Family {
public:
  DotFamily(int64_t lanes, int64_t cellRows, int64_t depth, LhsForm lhs)
      : Family(lanes), cellRows(cellRows), depth(depth), lhs(lhs) {}
  const int64_t cellRows;
  /// Elements of k in a product.
  const int64_t depth;
  const LhsForm lhs;
  /// Rows of a tile that are done with a group before the next ones begin; 0: all. For families short of registers.
  virtual int64_t rowsTogether() const { return 0; }
  /// Products of a turn of a long group whose operands are used up before more are loaded; 0: all. The same, for tiles that leave
  /// no register.
  virtual int64_t productsTogether(const edge::QuantizedPanel &) const { return 0; }
  /// Whether two registers come with one load if they are near.
  virtual bool loadsPairs() const { return false; }
  /// Sums of a group start at kBias, which makes them floats without a conversion, if none of them leaves +-2^22.
  virtual bool isBiased(const edge::QuantizedPanel &) const { return false; }
  /// 1.5 * 2^23 as a float and its bits: the lowest bit of the mantissa counts ones.
  static constexpr int64_t kBias = 12582912, kBiasBits = 0x4b400000;
  /// What products come out too large by, because numbers of 4 bits stay in the upper half of a byte.
  virtual int64_t factor(int64_t) const { return 1; }

  /// What the numbers of loadRhs() are larger by than those that are meant.
  virtual int64_t excess(const edge::QuantizedPanel &panel) const {
    return panel.order.isSigned() ? 0 : int64_t(1) << (panel.bits - 1);
  }

  /// Operands of `products` products for the cells of a unit of channels, [cell][product]. The numbers start at a byte.
  using Operands = llvm::SmallVector<llvm::SmallVector<Var>>;
  virtual Operands loadRhs(Code &code, const edge::QuantizedPanel &panel, mlir::Value panels, Var at, int64_t products) const = 0;
  virtual Var loadLhs(Code &code, mlir::Value lhs, Var at) const = 0;
  /// A cell that starts with a number (i32 or f32) or a register of them, or with zero.
  virtual Cell begin(Code &code, std::optional<Var> start) const = 0;
  /// Adds a product. The left operand starts at byte `from` of what was loaded.
  virtual void product(Code &code, Cell &cell, Var lhs, int64_t from, Var rhs) const = 0;
  /// After a handful of products: what could overflow is put away.
  virtual void settle(Code &, Cell &) const {}
  /// The cell as f32, cellRows * lanes of them.
  virtual Var finish(Code &code, const Cell &cell, bool biased) const = 0;
  /// One f32 for each channel of a unit, from a vector, in the form of cell `index` of the unit.
  virtual Var perChannel(Code &code, Var unit, int64_t index) const = 0;
  /// One f32 for each of cellRows rows, at a byte, in a cell's form.
  virtual Var perRow(Code &code, mlir::Value bytes, Var at) const = 0;
  /// The f32 cells of a unit as sums of rows [0, cellRows).
  virtual void rows(Code &code, llvm::ArrayRef<Var> cells, int64_t i, int64_t j, llvm::SmallVectorImpl<TileSums> &sums) const;
};

/// Activations in memory: per block of `rows` rows, which is the tallest tile, for each group int8 or f32
/// [size / segment][rows / together][segment / chunk][together][chunk] and, where sums start with it, a line of kBiasBits; then
/// scales [groups or 1][rows] f32 (of int8), starts [groups][rows] i32 or f32 (minus the excess of the weights' numbers times the
/// sum, where they have one), corrections [groups][rows] f32 (minus the sum, where weights have zeros). A segment is what a tile
/// reads for `together` rows before it turns to the next ones, so that it reads on.
struct ActivationLayout {
  ActivationLayout(const Kernel &tallest, const edge::QuantizedPanel &panel, edge::ActivationPrecision precision, int64_t k);
  bool operator==(const ActivationLayout &other) const;

  int64_t k, rows, together, chunk, segment, size, groups;
  bool floats, perGroup, starts, corrections, biased;
  int64_t elementBytes, factor, excess;

  /// Bytes from an element of a row to the next, taken over whole chunks of a segment.
  int64_t stride() const { return (segment == chunk ? rows : together) * elementBytes; }
  int64_t groupBytes() const { return rows * size * elementBytes + (biased ? kBiasLine : 0); }
  int64_t biasAt() const { return rows * size; }
  static constexpr int64_t kBiasLine = 64;
  /// Byte of element k of row i in a group.
  int64_t numberAt(int64_t i, int64_t k) const {
    int64_t part = k / segment * rows + i / together * together;
    return (part * segment + (k % segment / chunk * together + i % together) * chunk + k % chunk) * elementBytes;
  }
  int64_t scalesAt() const { return groupBytes() * groups; }
  int64_t startsAt() const { return scalesAt() + (floats ? 0 : 4 * rows * (perGroup ? groups : 1)); }
  int64_t correctionsAt() const { return startsAt() + (starts ? 4 * rows * groups : 0); }
  int64_t bytes() const { return llvm::alignTo(correctionsAt() + (corrections ? 4 * rows * groups : 0), 64); }
};

/// Input channels that are multiplied as floats: their indices, and where their values go, [rows, count] f32.
struct OutlierValues {
  mlir::Value indices, to;
  int64_t count;
};

/// Where a row begins.
struct Row {
  mlir::Value buffer;
  Var at;
};

/// Lays block `block` of the `rows` rows [k] that `from` gives as wanted. Outliers, if any, become zero and go to blocks of rows
/// of their own.
void emitActivations(Code &code, const ActivationLayout &layout, Var block, mlir::AffineExpr rows,
                     llvm::function_ref<Row(Var row)> from, mlir::Value to, const std::optional<OutlierValues> &outliers);

/// The table's name of a quantized weight.
KernelType kernelType(const edge::QuantizedPanel &panel);
/// The rows of the table for a quantized weight and a number of rows.
llvm::SmallVector<const Kernel *> quantizedKernels(const Machine &machine, const edge::QuantizedPanel &panel, bool floats,
                                                   mlir::AffineExpr rows);

/// The floating part of a product: values [rows, count] f32 and weights in panels [ceil(n / 16), count, 16] f16.
struct OutlierOperands {
  mlir::Value values, panels;
  int64_t count;
};

struct QuantizedOperands {
  mlir::Value lhs;
  const ActivationLayout &activations;
  mlir::Value panels;
  const edge::QuantizedPanel &panel;
  std::optional<OutlierOperands> outliers;
};
/// `operands` gives those of a product.
void emitQuantizedMatrix(Code &code, const Matrix &matrix, Var task, Var start,
                         llvm::function_ref<QuantizedOperands(Var product)> operands, MatrixStore store);

/// store(k, values) for all k of a channel of quantized panels.
void emitPanelRow(Code &code, const edge::QuantizedPanel &panel, mlir::Value panels, Var channel, int64_t k,
                  llvm::function_ref<void(Var, Var)> store);

} // namespace edgecc
#endif // EDGECC_PASSES_KERNELS_QUANTIZED_H

//===- Kernels.h - The table of micro-kernels and their emitter -------------===//
//
// The emitter (emitTile, emitMatrix) owns loops, tails and the packing contract; a Family supplies load, product and reduce.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_KERNELS_KERNELS_H
#define EDGECC_PASSES_KERNELS_KERNELS_H

#include "passes/kernels/Code.h"
#include "passes/kernels/Machine.h"

namespace edgecc {

/// What an instruction family knows: how operands come into registers and how they are multiplied. Stateless.
class Family {
public:
  explicit Family(int64_t lanes) : lanes(lanes) {}
  virtual ~Family() = default;
  /// Columns in one accumulator.
  const int64_t lanes;
};

/// Products of floating point numbers.
class FloatFamily : public Family {
public:
  FloatFamily(int64_t lanes, int64_t depth) : Family(lanes), depth(depth) {}
  /// Elements of k that one load of the left side brings. The rest of k is done by rest(), whose depth is 1.
  const int64_t depth;
  /// A new accumulator, zero.
  virtual Var zero(Code &code) const = 0;
  /// Elements [at, at + depth) of a row of the left side, ready for product().
  virtual Var loadLhs(Code &code, mlir::Value lhs, Var at) const = 0;
  /// One element of k of `lanes` columns of the right side.
  virtual Var loadRhs(Code &code, mlir::Value rhs, Var at) const = 0;
  /// acc + lhs[k] * rhs, k < depth.
  virtual Var product(Code &code, Var acc, Var lhs, int64_t k, Var rhs) const = 0;
  /// The accumulator as `lanes` f32 columns.
  virtual Var reduce(Code &code, Var acc) const = 0;
  virtual const FloatFamily &rest() const = 0;
};

/// Of a row of the table. Integers are quantized weights: with one scale per channel, or (G) with one per group.
enum class KernelType { F32, F16, BF16, I8, I4, I8G, I4G };

/// A row of kernels.def.
struct Kernel {
  llvm::StringRef name;
  KernelType lhs, rhs, acc;
  int64_t m, n, k;
  llvm::StringRef arch, feature;
  const Family &family;
};

llvm::ArrayRef<Kernel> allKernels();

/// The rows for two operand types on a machine, tallest first. Empty if there are none.
llvm::SmallVector<const Kernel *> kernelsFor(const Machine &machine, KernelType lhs, KernelType rhs);
/// The type of unquantized weights in the table; empty if there is none.
std::optional<KernelType> kernelType(mlir::Type element);

/// Fused multiply-adds on vectors of `lanes`; 1 is scalar code.
const FloatFamily &fmaFamily(int64_t lanes);
/// The best family for sums of `lanes` floats, for tiles that have no row in the table (attention).
const FloatFamily &floatFamily(const Machine &machine, int64_t lanes);

/// What a tile reads. Element k of row i of the left side is lhs[rows[i] + k]; columns [j * lanes, (j + 1) * lanes) of row k of
/// the right side start at rhs[columns[j] + k * stride].
struct TileOperands {
  mlir::Value lhs;
  llvm::SmallVector<Var> rows;
  mlir::Value rhs;
  llvm::SmallVector<Var> columns;
  int64_t stride;
};

/// acc[i][j] (row-major) += the sum over k in [0, depth) of lhs * rhs, `unroll` k per turn of the loop.
llvm::SmallVector<Var> emitTile(Code &code, const FloatFamily &family, const TileOperands &operands, Var depth, int64_t unroll,
                                llvm::ArrayRef<Var> acc);

/// One product of a left side [rows, k] with a weight in panels.
struct Matrix {
  mlir::AffineExpr rows;
  int64_t n, k;
  /// Of kernelsFor(). If the last has more than one row it computes rows beyond the last, too, which are not stored.
  llvm::ArrayRef<const Kernel *> kernels;
  bool longStore; ///< storing is a page of code: emit it once per tile, not once per register
  /// Products of the same left side with as many weights, whose sums are stored together.
  int64_t products = 1;
  /// Several weights side by side are columns of one product: no task has panels on either side of a multiple of this; 0:
  /// whatever.
  int64_t granule = 0;
};

/// Takes the sums of each product, of row `row + i` from column `column + j` on; the last of them may be beyond n.
using MatrixStore = llvm::function_ref<void(Var row, int64_t i, Var column, int64_t j, llvm::ArrayRef<Var> sums)>;

/// A register of sums in a tile: row i, columns from j on.
struct TileSums {
  int64_t i, j;
  Var sums;
};
/// Computes the tile of a kernel, `columns` wide, at a place, for one of the products.
using TileBody =
    llvm::function_ref<llvm::SmallVector<TileSums>(const Kernel &kernel, int64_t columns, Var row, Var column, Var product)>;

/// How many tasks emitMatrix wants.
mlir::AffineExpr matrixTasks(const Matrix &matrix);
/// The panels of the widest tile of a ladder: what a granule must be a multiple of.
int64_t widestTile(llvm::ArrayRef<const Kernel *> kernels);
/// The first column of a task.
Var firstColumn(Code &code, const Matrix &matrix, Var task);
/// Loops and tails of any matrix. Body and store see columns less `start`: those of the weight that the task belongs to.
void emitTiles(Code &code, const Matrix &matrix, Var task, Var start, TileBody body, MatrixStore store);
/// With panels [ceil(n / 16), k, 16] of floats for each product.
void emitMatrix(Code &code, const Matrix &matrix, Var task, Var start, mlir::Value lhs, llvm::ArrayRef<mlir::Value> panels,
                MatrixStore store);

} // namespace edgecc
#endif // EDGECC_PASSES_KERNELS_KERNELS_H

//===- Matrix.cpp - Loops, tails and packing of matrix products -------------===//
//
// k is never split: a panel group of a transformer (at most 12k x 32 floats) fits a second-level cache, and a sum that stays
// in registers from its first product to its store needs no second pass over the result.
//
//===----------------------------------------------------------------------===//
#include "passes/kernels/Kernels.h"

using namespace mlir;
namespace edgecc {

static constexpr int64_t kPanel = edge::kPanelWidth;

SmallVector<Var> emitTile(Code &code, const FloatFamily &family, const TileOperands &operands, Var depth, int64_t unroll,
                          ArrayRef<Var> acc) {
  size_t vectors = operands.columns.size();
  auto steps = [&](const FloatFamily &family, Var lo, Var hi, int64_t step, ArrayRef<Var> acc) {
    return code.loop(lo, hi, step, acc, [&](Var k, ArrayRef<Var> carried) {
      SmallVector<Var> next(carried), lhs(operands.rows.size());
      for (int64_t inner = 0; inner < step; ++inner) {
        SmallVector<Var> rhs;
        for (Var column : operands.columns)
          rhs.push_back(family.loadRhs(code, operands.rhs, column + k * operands.stride + inner * operands.stride));
        for (size_t i = 0; i < operands.rows.size(); ++i) {
          if (inner % family.depth == 0)
            lhs[i] = family.loadLhs(code, operands.lhs, operands.rows[i] + k + inner);
          for (size_t j = 0; j < vectors; ++j)
            next[i * vectors + j] = family.product(code, next[i * vectors + j], lhs[i], inner % family.depth, rhs[j]);
        }
      }
      return next;
    });
  };
  Var whole = depth - depth % unroll;
  SmallVector<Var> sums = steps(family, code.index(0), whole, unroll, acc);
  return steps(family.rest(), whole, depth, 1, sums);
}

namespace {

/// How the result is cut into tasks: blocks of rows x groups of panels.
struct Cut {
  explicit Cut(const Matrix &matrix) {
    const Kernel &tallest = *matrix.kernels.front();
    panels = llvm::divideCeil(matrix.n, kPanel);
    auto rows = constantSize(matrix.rows);
    // Several tiles under each other use the panels of a group while they are in the cache.
    constexpr int64_t kReuse = 32;
    blockRows = llvm::alignTo(std::max(kReuse, 4 * tallest.m), tallest.m);
    if (rows)
      blockRows = std::min(blockRows, *rows);
    // About 64k multiply-adds in a task, assuming one tile of rows where their number is not known.
    constexpr int64_t kProducts = 65536;
    int64_t assumedRows = rows ? blockRows : tallest.m;
    int64_t wanted = kProducts / std::max<int64_t>(1, assumedRows * matrix.k * kPanel);
    int64_t widest = widestTile(matrix.kernels);
    groupPanels = std::min(panels, int64_t(llvm::alignTo(std::max<int64_t>(1, wanted / matrix.products), widest)));
    while (matrix.granule && matrix.granule % groupPanels)
      groupPanels -= widest;
  }
  int64_t panels, groupPanels, blockRows;
  int64_t groups() const { return llvm::divideCeil(panels, groupPanels); }
};

} // namespace

/// Elements of k that are widened at a time.
static constexpr int64_t kStage = 64;

/// A tile whose left side is f16 or bf16 and is wanted element by element: a few vectors of each row are widened onto the stack
/// first, since converting single elements takes longer than multiplying with them.
static SmallVector<Var> emitStaged(Code &code, const Kernel &kernel, const FloatFamily &family, const TileOperands &operands,
                                   int64_t k, Var lhsAt, Value stage, ArrayRef<Var> acc) {
  Var whole = code.index(k - k % kStage);
  SmallVector<Var> sums = code.loop(code.index(0), whole, kStage, acc, [&](Var from, ArrayRef<Var> carried) {
    code.loop(code.index(0), code.index(kernel.m), 1, [&](Var i) {
      code.sweep(code.index(kStage), [&](Var at, int64_t count) {
        code.store(stage, i * kStage + at, code.load(operands.lhs, lhsAt + i * k + from + at, count));
      });
    });
    TileOperands inner{stage, {}, operands.rhs, {}, operands.stride};
    for (int64_t i = 0; i < kernel.m; ++i)
      inner.rows.push_back(code.index(i * kStage));
    for (Var column : operands.columns)
      inner.columns.push_back(column + from * operands.stride);
    return emitTile(code, family, inner, code.index(kStage), kernel.k, carried);
  });
  TileOperands rest = operands;
  for (Var &row : rest.rows)
    row = row + whole;
  for (Var &column : rest.columns)
    column = column + whole * operands.stride;
  return emitTile(code, family, rest, code.index(k % kStage), kernel.k, sums);
}

AffineExpr matrixTasks(const Matrix &matrix) {
  Cut cut(matrix);
  return matrix.rows.ceilDiv(cut.blockRows) * cut.groups();
}

int64_t widestTile(ArrayRef<const Kernel *> kernels) {
  return std::max({kernels.front()->n, kernels.back()->n, kPanel}) / kPanel;
}

Var firstColumn(Code &code, const Matrix &matrix, Var task) {
  Cut cut(matrix);
  return task / code.size(matrix.rows.ceilDiv(cut.blockRows)) * (cut.groupPanels * kPanel);
}

void emitTiles(Code &code, const Matrix &matrix, Var task, Var start, TileBody body, MatrixStore store) {
  Cut cut(matrix);
  Var rows = code.size(matrix.rows);
  // Neighbouring tasks share their panels, not their rows: weights are what is expensive to bring in.
  Var blocks = code.size(matrix.rows.ceilDiv(cut.blockRows));
  Var firstRow = task % blocks * cut.blockRows;
  Var lastRow = min(firstRow + cut.blockRows, rows);
  Var firstColumn = edgecc::firstColumn(code, matrix, task) - start;
  Var lastColumn = cut.panels % cut.groupPanels == 0
                       ? firstColumn + cut.groupPanels * kPanel
                       : min(firstColumn + cut.groupPanels * kPanel, code.index(cut.panels * kPanel) - start);

  int64_t largest = 0;
  for (const Kernel *kernel : matrix.kernels)
    largest = std::max(largest, kernel->m * std::max(kernel->n, kPanel));
  const Kernel &last = *matrix.kernels.back();
  auto known = constantSize(matrix.rows);
  bool partialRows = last.m > 1 && !(known && *known % last.m == 0);
  // Panels that are filled up beyond n make a page of any store; sums of several products wait for each other.
  bool longStore = matrix.longStore || matrix.n % kPanel != 0 || matrix.products > 1;
  Value tileBuffer = longStore || partialRows ? code.stack(largest * matrix.products) : Value();
  auto tile = [&](const Kernel &kernel, int64_t columns, Var row, Var column) {
    bool partial = partialRows && &kernel == &last;
    if (!longStore && !partial) {
      for (const TileSums &part : body(kernel, columns, row, column, code.index(0)))
        store(row, part.i, column, part.j, part.sums);
      return;
    }
    int64_t lanes = 1;
    code.loop(code.index(0), code.index(matrix.products), 1, [&](Var product) {
      SmallVector<TileSums> tile = body(kernel, columns, row, column, product);
      for (const TileSums &part : tile)
        code.store(tileBuffer, product * largest + (part.i * columns + part.j), part.sums);
      if (auto vector = dyn_cast<VectorType>(tile.front().sums.type()))
        lanes = vector.getNumElements();
    });
    Var height = partial ? min(code.index(kernel.m), lastRow - row) : code.index(kernel.m);
    code.loop(code.index(0), height, 1, [&](Var i) {
      code.loop(code.index(0), code.index(columns), lanes, [&](Var j) {
        SmallVector<Var> sums;
        for (int64_t product = 0; product < matrix.products; ++product)
          sums.push_back(code.load(tileBuffer, i * columns + j + product * largest, lanes));
        store(row + i, 0, column + j, 0, sums);
      });
    });
  };

  // For each height: all full tiles, panels outside so that they are read once for all of them.
  Var row = firstRow;
  for (const Kernel *kernel : matrix.kernels) {
    if (known && *known < kernel->m && kernel != &last)
      continue;
    Var end = partialRows && kernel == &last ? lastRow : lastRow - (lastRow - row) % kernel->m;
    bool wholeGroups = cut.panels * kPanel % kernel->n == 0 && cut.groupPanels * kPanel % kernel->n == 0;
    Var wideEnd = wholeGroups ? lastColumn : lastColumn - (lastColumn - firstColumn) % kernel->n;
    code.loop(firstColumn, wideEnd, kernel->n,
              [&](Var column) { code.loop(row, end, kernel->m, [&](Var at) { tile(*kernel, kernel->n, at, column); }); });
    if (!wholeGroups)
      code.loop(wideEnd, lastColumn, kPanel,
                [&](Var column) { code.loop(row, end, kernel->m, [&](Var at) { tile(*kernel, kPanel, at, column); }); });
    row = end;
  }
}

void emitMatrix(Code &code, const Matrix &matrix, Var task, Var start, Value lhs, ArrayRef<Value> panels, MatrixStore store) {
  Var depth = code.index(matrix.k);
  bool narrow = !cast<MemRefType>(lhs.getType()).getElementType().isF32();
  Value stage = narrow ? code.stack(matrix.kernels.front()->m * kStage) : Value();
  auto body = [&](const Kernel &kernel, int64_t columns, Var row, Var column, Var product) {
    const auto &family = static_cast<const FloatFamily &>(kernel.family);
    TileOperands operands{lhs, {}, code.choose(product, panels), {}, kPanel};
    // One address and constants: what is spelled (row + i) * k keeps a register for each i.
    Var lhsAt = row * matrix.k, panelAt = column * matrix.k;
    for (int64_t i = 0; i < kernel.m; ++i)
      operands.rows.push_back(lhsAt + i * matrix.k);
    for (int64_t j = 0; j < columns; j += family.lanes)
      operands.columns.push_back(panelAt + (j / kPanel * kPanel * matrix.k + j % kPanel));
    size_t vectors = operands.columns.size();
    SmallVector<Var> zeros(kernel.m * vectors, family.zero(code));
    SmallVector<Var> sums = stage && kernel.m > 1 && family.depth == 1
                                ? emitStaged(code, kernel, family, operands, matrix.k, lhsAt, stage, zeros)
                                : emitTile(code, family, operands, depth, kernel.k, zeros);
    SmallVector<TileSums> tile;
    for (int64_t i = 0; i < kernel.m; ++i)
      for (size_t j = 0; j < vectors; ++j)
        tile.push_back({i, int64_t(j) * family.lanes, family.reduce(code, sums[i * vectors + j])});
    return tile;
  };
  emitTiles(code, matrix, task, start, body, store);
}

} // namespace edgecc

//===- QuantizedMatrix.cpp - Tiles of quantized weights ---------------------===//
#include "passes/kernels/Quantized.h"

using namespace mlir;
namespace edgecc {

static constexpr int64_t kPanel = edge::kPanelWidth;

KernelType kernelType(const edge::QuantizedPanel &panel) {
  if (panel.bits == 4)
    return panel.groups > 1 ? KernelType::I4G : KernelType::I4;
  return panel.groups > 1 ? KernelType::I8G : KernelType::I8;
}

SmallVector<const Kernel *> quantizedKernels(const Machine &machine, const edge::QuantizedPanel &panel, bool floats,
                                             AffineExpr rows) {
  auto kernels = kernelsFor(machine, floats ? KernelType::F32 : KernelType::I8, kernelType(panel));
  auto interleaved = [](const Kernel *kernel) { return static_cast<const DotFamily &>(kernel->family).lhs.rows > 1; };
  // One layout for all rows of a left side: the ladder of matrices, or that of vectors.
  bool vector = constantSize(rows) == 1 || llvm::none_of(kernels, interleaved);
  llvm::erase_if(kernels, [&](const Kernel *kernel) { return interleaved(kernel) == vector; });
  return kernels;
}

namespace {

class QuantizedTile {
public:
  QuantizedTile(Code &code, const Matrix &matrix, const Kernel &kernel, int64_t columns, const QuantizedOperands &operands,
                Var row, Var column)
      : code(code), kernel(kernel), family(static_cast<const DotFamily &>(kernel.family)), operands(operands),
        panel(operands.panel), k(matrix.k), unit(panel.order.unit()), units(columns / unit), cellsOfUnit(unit / family.lanes),
        cells(units * cellsOfUnit), rowCells(kernel.m / family.cellRows) {
    numbers = scales = column / kPanel * panel.bytes;
    // A tile narrower than a panel begins inside of one.
    if (columns < kPanel) {
      Var inside = column % kPanel;
      numbers = numbers + inside / unit * panel.unitBytes;
      scales = scales + inside * panel.scaleBytes;
    }
    lhs = family.lhs.floats ? row * k : row / family.lhs.rows * operands.activations->bytes();
  }

  SmallVector<TileSums> emit() {
    // Floats end where k ends; int8 is filled up.
    int64_t depth = family.lhs.floats ? k : panel.groups * panel.size;
    int64_t blocks = depth / (panel.size * panel.blockGroups);
    SmallVector<Var> sums;
    if (panel.groups > 1)
      sums.assign(rowCells * cells, code.splat(code.f32(0), family.lanes * family.cellRows));
    auto block = [&](Var index, ArrayRef<Var> carried, int64_t from, int64_t groups, int64_t length) {
      SmallVector<Var> next(carried);
      for (int64_t inner = from; inner < from + groups; ++inner)
        next = emitGroup(index, inner, length, next);
      return next;
    };
    if (panel.groups == 1) {
      sums = block(code.index(0), {}, 0, 1, depth);
    } else {
      sums = code.loop(code.index(0), code.index(blocks), 1, sums,
                       [&](Var index, ArrayRef<Var> carried) { return block(index, carried, 0, panel.blockGroups, panel.size); });
      for (int64_t group = blocks * panel.blockGroups; group * panel.size < depth; ++group)
        sums = block(code.index(blocks), sums, group % panel.blockGroups, 1, std::min(panel.size, depth - group * panel.size));
    }
    return finish(sums);
  }

private:
  /// Byte of a row's 4-byte number in a table beside the activations.
  Var sideAt(int64_t table, Var group, int64_t i) {
    int64_t rows = family.lhs.rows;
    return lhs + group * (4 * rows) + (i / rows * operands.activations->bytes() + table + i % rows * 4);
  }

  /// Bytes from the tile's first channel to those of unit `u`.
  int64_t unitOffset(int64_t u, int64_t bytesOfUnit) const {
    int64_t channel = u * unit;
    return channel / kPanel * panel.bytes + channel % kPanel / unit * bytesOfUnit;
  }

  /// The scales or zeros of a group, for each cell of a row.
  SmallVector<Var> perChannel(Var blockAt, int64_t at) {
    SmallVector<Var> result;
    Type type = panel.scaleBytes == 2 ? Type(code.getF16Type()) : Type(code.getF32Type());
    for (int64_t u = 0; u < units; ++u) {
      Var wide = code.convert(
          code.loadBytes(operands.panels, scales + blockAt + (at + unitOffset(u, unit * panel.scaleBytes)), type, unit),
          code.getF32Type());
      for (int64_t cell = 0; cell < cellsOfUnit; ++cell)
        result.push_back(family.perChannel(code, wide, cell));
    }
    return result;
  }

  struct Group {
    Var block;     ///< of groups
    int64_t inner; ///< in the block
    Var depth;     ///< where it begins in k
    SmallVector<Var> zeros;
  };

  /// Right operands for `products` products from `from` in the group, [cell][product].
  DotFamily::Operands loadRhs(const Group &group, Var from, int64_t products) {
    DotFamily::Operands all;
    Var at = numbers + group.block * panel.blockBytes + from * (unit * panel.bits) / 8;
    for (int64_t u = 0; u < units; ++u) {
      auto zeros = ArrayRef(group.zeros).slice(group.zeros.empty() ? 0 : u * cellsOfUnit, group.zeros.empty() ? 0 : cellsOfUnit);
      auto part = family.loadRhs(code, panel, operands.panels,
                                 at + (panel.numbersAt(group.inner) + unitOffset(u, panel.unitBytes)), products, zeros);
      llvm::append_range(all, part);
    }
    return all;
  }

  /// Adds `products` products, from `from` in the group, to the cells of rows [first, first + rows).
  void emitProducts(const Group &group, Var from, int64_t products, int64_t first, int64_t rows, const DotFamily::Operands &rhs,
                    MutableArrayRef<Cell> into) {
    const LhsForm &form = family.lhs;
    Var at = form.floats ? lhs + group.depth + from : lhs + (group.depth + from) * form.rows;
    llvm::DenseMap<int64_t, Var> loaded;
    auto left = [&](int64_t i, int64_t product) -> std::pair<Var, int64_t> {
      int64_t offset = product * family.depth;
      if (form.floats)
        offset += i * k;
      else
        offset = i / form.rows * operands.activations->bytes() + (offset / form.chunk * form.rows + i % form.rows) * form.chunk +
                 offset % form.chunk;
      int64_t begin = offset - offset % form.loadBytes;
      Var &value = loaded[begin];
      if (!Value(value))
        value = family.loadLhs(code, operands.lhs, at + begin);
      return {value, offset - begin};
    };
    for (int64_t product = 0; product < products; ++product)
      for (int64_t row = 0; row < rows; ++row) {
        auto [value, byte] = left((first + row) * family.cellRows, product);
        for (int64_t cell = 0; cell < cells; ++cell)
          family.product(code, into[row * cells + cell], value, byte, rhs[cell][product]);
      }
    for (Cell &cell : into)
      family.settle(code, cell);
  }

  /// The cells of rows of a group, not yet f32.
  SmallVector<Cell> beginRows(const Group &group, int64_t first, int64_t rows) {
    SmallVector<Cell> begun;
    for (int64_t row = first; row < first + rows; ++row) {
      std::optional<Var> start;
      if (!family.lhs.floats && operands.activations->starts)
        start = code.loadBytes(operands.lhs,
                               sideAt(operands.activations->startsAt(), group.block * panel.blockGroups + group.inner, row),
                               code.getI32Type());
      begun.append(cells, family.begin(code, start));
    }
    return begun;
  }

  /// sums + what a group adds to them; no sums: what it gives.
  SmallVector<Var> emitGroup(Var block, int64_t inner, int64_t length, ArrayRef<Var> sums) {
    Group group{block, inner, (block * panel.blockGroups + inner) * panel.size, {}};
    Var blockAt = block * panel.blockBytes;
    SmallVector<Var> scale = perChannel(blockAt, panel.scaleAt(inner));
    if (panel.zeros)
      group.zeros = perChannel(blockAt, panel.zeroAt(inner));
    bool straight = length <= kernel.k;
    int64_t together = straight && family.rowsTogether() ? family.rowsTogether() / family.cellRows : rowCells;
    SmallVector<Var> result;
    DotFamily::Operands rhs;
    if (straight)
      rhs = loadRhs(group, code.index(0), length / family.depth);
    for (int64_t first = 0; first < rowCells; first += together) {
      SmallVector<Cell> begun = beginRows(group, first, together);
      if (straight)
        emitProducts(group, code.index(0), length / family.depth, first, together, rhs, begun);
      else
        begun = emitLong(group, length, begun);
      for (int64_t i = 0; i < together * cells; ++i)
        result.push_back(addGroup(group, first + i / cells, i % cells, family.finish(code, begun[i]), scale,
                                  sums.empty() ? std::optional<Var>() : sums[first * cells + i]));
    }
    return result;
  }

  /// A group of more than one turn.
  SmallVector<Cell> emitLong(const Group &group, int64_t length, ArrayRef<Cell> begun) {
    int64_t registers = begun.front().size(), whole = length / kernel.k * kernel.k;
    SmallVector<Var> carried;
    for (const Cell &cell : begun)
      llvm::append_range(carried, cell);
    auto turn = [&](Var from, int64_t count, ArrayRef<Var> carried) {
      SmallVector<Cell> now;
      for (size_t i = 0; i < carried.size(); i += registers)
        now.emplace_back(carried.slice(i, registers));
      emitProducts(group, from, count / family.depth, 0, rowCells, loadRhs(group, from, count / family.depth), now);
      SmallVector<Var> next;
      for (const Cell &cell : now)
        llvm::append_range(next, cell);
      return next;
    };
    carried = code.loop(code.index(0), code.index(whole), kernel.k, carried,
                        [&](Var from, ArrayRef<Var> inside) { return turn(from, kernel.k, inside); });
    if (length > whole)
      carried = turn(code.index(whole), length - whole, carried);
    SmallVector<Cell> done;
    for (size_t i = 0; i < carried.size(); i += registers)
      done.emplace_back(ArrayRef(carried).slice(i, registers));
    return done;
  }

  Var addGroup(const Group &group, int64_t row, int64_t cell, Var value, ArrayRef<Var> scale, std::optional<Var> sum) {
    Var groupIndex = group.block * panel.blockGroups + group.inner;
    const ActivationLayout *activations = operands.activations;
    if (activations && activations->perGroup)
      value = value * family.perRow(code, operands.lhs, sideAt(activations->scalesAt(), groupIndex, row * family.cellRows));
    Var result = sum ? code.fma(value, scale[cell], *sum) : value * scale[cell];
    if (activations && panel.zeros)
      result =
          code.fma(family.perRow(code, operands.lhs, sideAt(activations->correctionsAt(), groupIndex, row * family.cellRows)),
                   group.zeros[cell] * scale[cell], result);
    return result;
  }

  SmallVector<TileSums> finish(ArrayRef<Var> sums) {
    SmallVector<TileSums> tile;
    for (int64_t row = 0; row < rowCells; ++row) {
      int64_t i = row * family.cellRows;
      SmallVector<Var> scaled(sums.slice(row * cells, cells));
      if (operands.activations && !operands.activations->perGroup) {
        Var scale = family.perRow(code, operands.lhs, sideAt(operands.activations->scalesAt(), code.index(0), i));
        for (Var &sum : scaled)
          sum = sum * scale;
      }
      for (int64_t u = 0; u < units; ++u)
        family.rows(code, ArrayRef(scaled).slice(u * cellsOfUnit, cellsOfUnit), i, u * unit, tile);
    }
    return tile;
  }

  Code &code;
  const Kernel &kernel;
  const DotFamily &family;
  const QuantizedOperands &operands;
  const edge::QuantizedPanel &panel;
  int64_t k, unit, units, cellsOfUnit, cells, rowCells;
  Var numbers, scales; ///< bytes in the panels: of the tile's first channel
  Var lhs;             ///< of the tile's first row: byte, or element
};

} // namespace

void emitQuantizedMatrix(Code &code, const Matrix &matrix, Var task, const QuantizedOperands &operands, MatrixStore store) {
  auto body = [&](const Kernel &kernel, int64_t columns, Var row, Var column) {
    return QuantizedTile(code, matrix, kernel, columns, operands, row, column).emit();
  };
  emitTiles(code, matrix, task, body, store);
}

void emitPanelRow(Code &code, const edge::QuantizedPanel &panel, Value panels, Var channel, int64_t k,
                  function_ref<void(Var, Var)> store) {
  int64_t unit = panel.order.unit(), step = panel.step();
  Var inside = channel % kPanel, at = channel / kPanel * panel.bytes;
  Type scaleType = panel.scaleBytes == 2 ? Type(code.getF16Type()) : Type(code.getF32Type());
  auto emitGroup = [&](Var group, int64_t length) {
    Var inner = group % panel.blockGroups, block = at + group / panel.blockGroups * panel.blockBytes;
    auto side = [&](int64_t from) {
      Var byte = block + inner * (kPanel * panel.scaleBytes) + inside * panel.scaleBytes + from;
      return code.convert(code.loadBytes(panels, byte, scaleType), code.getF32Type());
    };
    Var scale = side(panel.scaleAt(0));
    Var zero = code.f32(panel.order.isSigned() ? 0 : int64_t(1) << (panel.bits - 1));
    if (panel.zeros)
      zero = side(panel.zeroAt(0)) + zero;
    Var first = block + inner * panel.numberBytes + inside / unit * panel.unitBytes + inside % unit * 4 + panel.numbersAt(0);
    auto put = [&](Var to, Var numbers, int64_t count) {
      if (count < 4)
        numbers =
            count == 1 ? code.extract(numbers, 0) : code.shuffle(numbers, numbers, llvm::to_vector(llvm::seq<int64_t>(0, count)));
      Type i32 = code.getI32Type(), f32 = code.getF32Type();
      Type ints = count == 1 ? i32 : Type(code.vectorOf(count, i32)), floats = count == 1 ? f32 : Type(code.vectorOf(count, f32));
      Var wide = panel.order.isSigned() ? code.var(arith::ExtSIOp::create(code, ints, Value(numbers)))
                                        : code.var(arith::ExtUIOp::create(code, ints, Value(numbers)));
      Var real = code.var(arith::SIToFPOp::create(code, floats, Value(wide)));
      store(to, (real - code.splat(zero, count)) * code.splat(scale, count));
    };
    auto emitStep = [&](Var index, int64_t count) {
      Var raw = code.loadRaw(panels, first + index * (unit * 4), 4), to = group * panel.size + index * step;
      if (panel.bits == 8)
        return put(to, raw, count);
      put(to, panel.order.isSigned() ? shiftSigned(raw << 4, 4) : raw & raw.same(15), std::min<int64_t>(count, 4));
      if (count > 4)
        put(to + 4, panel.order.isSigned() ? shiftSigned(raw, 4) : raw >> 4, count - 4);
    };
    code.loop(code.index(0), code.index(length / step), 1, [&](Var index) { emitStep(index, step); });
    if (length % step)
      emitStep(code.index(length / step), length % step);
  };
  int64_t whole = k / panel.size;
  code.loop(code.index(0), code.index(whole), 1, [&](Var group) { emitGroup(group, panel.size); });
  if (k % panel.size)
    emitGroup(code.index(whole), k % panel.size);
}

} // namespace edgecc

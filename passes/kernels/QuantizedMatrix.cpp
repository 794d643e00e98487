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
  auto interleaved = [](const Kernel *kernel) { return static_cast<const DotFamily &>(kernel->family).lhs.isInterleaved(); };
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
        activations(operands.activations), panel(operands.panel), unit(panel.order.unit()), units(columns / unit),
        cellsOfUnit(unit / family.lanes), cells(units * cellsOfUnit), rowCells(kernel.m / family.cellRows) {
    firstPanel = column / kPanel * panel.bytes;
    if (const auto &outliers = operands.outliers) {
      outlierRow = row * outliers->count;
      outlierColumn = column / kPanel * (kPanel * outliers->count) + column % kPanel;
    }
    numbers = scales = code.index(0);
    // A tile narrower than a panel begins inside of one.
    if (columns < kPanel) {
      Var inside = column % kPanel;
      numbers = inside / unit * panel.unitBytes;
      scales = inside * panel.scaleBytes;
    }
    // A tile lower than a block begins inside of one, at a multiple of its own height.
    bool whole = kernel.m % activations.rows == 0;
    Var block = row / activations.rows * activations.bytes(), first = whole ? code.index(0) : row % activations.rows;
    Var firstAt = first * (activations.segment * activations.elementBytes);
    lhs = block + firstAt, sides = block + first * 4;
    biases = code.index(activations.biasAt()) - firstAt;
  }

  SmallVector<TileSums> emit() {
    int64_t depth = panel.groups * panel.size, blocks = panel.groups / panel.blockGroups;
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
    }
    return finish(sums);
  }

private:
  /// Byte of a row's 4-byte number in a table beside the activations.
  Var sideAt(int64_t table, Var group, int64_t i) {
    int64_t rows = activations.rows;
    return sides + group * (4 * rows) + (i / rows * activations.bytes() + table + i % rows * 4);
  }

  /// The panel of unit `u`, counted from the tile's.
  int64_t panelOf(int64_t u) const { return u * unit / kPanel; }

  struct Group {
    bool straight; ///< done in one turn
    Var block;     ///< of groups
    int64_t inner; ///< in the block
    Var lhs;       ///< the byte of the tile's first row
    Var biased;    ///< the same, for what its sums start with
    int64_t begun; ///< sums that started there
    /// Of the panels that were entered: bytes where this group's block begins; for each cell.
    SmallVector<Var> panels, scales, zeros;
  };

  /// Scales or zeros of a group and a panel, for each cell of a row.
  void perChannel(Var at, int64_t index, SmallVectorImpl<Var> &into) {
    Type type = panel.scaleBytes == 2 ? Type(code.getF16Type()) : Type(code.getF32Type());
    for (int64_t u = 0; u < units && u * unit < kPanel; ++u) {
      Var place = at + scales + (index + u * unit * panel.scaleBytes);
      Var wide = code.convert(code.loadBytes(operands.panels, place, type, unit), code.getF32Type());
      for (int64_t cell = 0; cell < cellsOfUnit; ++cell)
        into.push_back(family.perChannel(code, wide, cell));
    }
  }

  /// The panels of units [0, end), if they were not entered before; not before `done`.
  void enterPanels(Group &group, int64_t end, ArrayRef<Var> done) {
    for (int64_t p = group.panels.size(); p <= panelOf(end - 1); ++p) {
      Var at = firstPanel + group.block * panel.blockBytes + p * panel.bytes;
      // A register for each panel: what is loaded in pairs must be near.
      if (p > 0 && group.straight && family.loadsPairs())
        at = code.after(at, done);
      group.panels.push_back(at);
      perChannel(at, panel.scaleAt(group.inner), group.scales);
      if (panel.zeros)
        perChannel(at, panel.zeroAt(group.inner), group.zeros);
    }
  }

  /// Units [first, first + count) of the tile.
  struct Units {
    int64_t first, count;
  };

  /// Right operands for `products` products from `from` in the group, [cell][product].
  DotFamily::Operands loadRhs(const Group &group, Units which, Var from, int64_t products) {
    DotFamily::Operands all;
    for (int64_t u = which.first; u < which.first + which.count; ++u) {
      Var at = group.panels[panelOf(u)] + numbers + from * (panel.stepBytes / panel.step()) +
               (panel.numbersAt(group.inner) + u * unit % kPanel / unit * panel.unitBytes);
      auto part = family.loadRhs(code, panel, operands.panels, at, products);
      llvm::append_range(all, part);
    }
    return all;
  }

  /// Left operands of a turn: what was loaded, by where it begins.
  using Loaded = llvm::DenseMap<int64_t, Var>;

  /// The left operand of row `i` for the product at `offset`, and the byte in it. The turn begins at `at`.
  std::pair<Var, int64_t> loadLhs(Loaded &loaded, Var at, int64_t i, int64_t offset) {
    const LhsForm &form = family.lhs;
    int64_t place = i / activations.rows * activations.bytes() + activations.numberAt(i % activations.rows, offset);
    int64_t begin = place - place % form.loadBytes;
    Var &value = loaded[begin];
    if (!Value(value))
      value = family.loadLhs(code, operands.lhs, at + begin);
    return {value, place - begin};
  }

  /// Adds `products` products, from `from` in the group, to the cells of rows [first, first + rows).
  /// Products that follow each other go to different sets of cells, of which there may be several.
  void emitProducts(const Group &group, Var from, int64_t products, int64_t first, int64_t rows, const DotFamily::Operands &rhs,
                    Loaded &loaded, MutableArrayRef<Cell> into) {
    int64_t width = rhs.size();
    Var at = group.lhs + from * activations.stride();
    for (int64_t product = 0; product < products; ++product)
      for (int64_t row = 0; row < rows; ++row) {
        auto [value, byte] = loadLhs(loaded, at, (first + row) * family.cellRows, product * family.depth);
        for (int64_t cell = 0; cell < width; ++cell)
          family.product(code, into[(product * rows * width + row * width + cell) % into.size()], value, byte,
                         rhs[cell][product]);
      }
    for (Cell &cell : into)
      family.settle(code, cell);
  }

  /// Cells of rows of a group, `width` for each, not yet f32.
  SmallVector<Cell> beginRows(Group &group, int64_t first, int64_t rows, int64_t width) {
    SmallVector<Cell> begun;
    for (int64_t i = 0; i < rows * width; ++i) {
      std::optional<Var> start;
      if (activations.starts)
        start = code.loadBytes(
            operands.lhs,
            sideAt(activations.startsAt(), group.block * panel.blockGroups + group.inner, (first + i / width) * family.cellRows),
            activations.floats ? Type(code.getF32Type()) : Type(code.getI32Type()));
      if (activations.biased) {
        // From memory, since loads have units of their own and bring two registers at a time.
        int64_t at = group.begun++ * 16 % ActivationLayout::kBiasLine;
        if (at == 0 && group.begun > 1)
          group.biased = code.after(group.biased, {});
        start = code.loadBytes(operands.lhs, group.biased + biases + at, code.getI32Type(), 4);
      }
      begun.push_back(family.begin(code, start));
    }
    return begun;
  }

  /// Sets of cells that take turns: a few of them hide the latency of a sum. Short groups of integers do not depend on each
  /// other.
  int64_t sets(bool straight, int64_t count) const {
    constexpr int64_t kHidden = 4;
    return straight && !family.lhs.floats ? 1 : std::max<int64_t>(1, kHidden / count);
  }

  /// sums + what a group adds to them; no sums: what it gives.
  SmallVector<Var> emitGroup(Var block, int64_t inner, int64_t length, ArrayRef<Var> sums) {
    Var index = block * panel.blockGroups + inner;
    bool straight = length <= kernel.k;
    Group group{straight, block, inner, {}, {}, 0, {}, {}, {}};
    group.lhs = group.biased = lhs + index * activations.groupBytes();
    int64_t rowsAtOnce = straight && family.rowsTogether() ? family.rowsTogether() / family.cellRows : rowCells;
    int64_t unitsAtOnce = straight ? 1 : units;
    SmallVector<Var> result(rowCells * cells);
    Loaded loaded;
    SmallVector<Var> done;
    // One unit after the other, and some rows: what is loaded for them is used up before more is loaded.
    for (int64_t u = 0; u < units; u += unitsAtOnce) {
      int64_t width = unitsAtOnce * cellsOfUnit;
      enterPanels(group, u + unitsAtOnce, done);
      done.clear();
      DotFamily::Operands rhs;
      if (straight)
        rhs = loadRhs(group, {u, unitsAtOnce}, code.index(0), length / family.depth);
      for (int64_t first = 0; first < rowCells; first += rowsAtOnce) {
        if (first > 0)
          group.lhs = group.biased = code.after(group.lhs, done), group.begun = 0, done.clear();
        SmallVector<Cell> begun = beginRows(group, first, rowsAtOnce, width);
        int64_t count = begun.size();
        for (int64_t set = 1; set < sets(straight, count); ++set)
          begun.append(count, family.begin(code, std::nullopt));
        if (straight)
          emitProducts(group, code.index(0), length / family.depth, first, rowsAtOnce, rhs, loaded, begun);
        else
          begun = emitLong(group, length, begun);
        for (int64_t i = count, end = begun.size(); i < end; ++i)
          for (auto [sum, more] : llvm::zip_equal(begun[i % count], begun[i]))
            sum = sum + more;
        for (int64_t i = 0; i < count; ++i) {
          int64_t row = first + i / width, cell = u * cellsOfUnit + i % width;
          Var &sum = result[row * cells + cell];
          sum = addGroup(group, row, cell, family.finish(code, begun[i], activations.biased),
                         sums.empty() ? std::optional<Var>() : sums[row * cells + cell]);
          done.push_back(sum);
        }
      }
    }
    return result;
  }

  /// A group of more than one turn.
  SmallVector<Cell> emitLong(const Group &group, int64_t length, ArrayRef<Cell> begun) {
    int64_t registers = begun.front().size(), whole = length / kernel.k * kernel.k;
    bool full = begun.size() * registers > 16;
    SmallVector<Var> carried;
    for (const Cell &cell : begun)
      llvm::append_range(carried, cell);
    auto turn = [&](Var from, int64_t count, ArrayRef<Var> carried) {
      SmallVector<Cell> now;
      for (size_t i = 0; i < carried.size(); i += registers)
        now.emplace_back(carried.slice(i, registers));
      // Where sums fill the registers, operands come a few products at a time; LLVM would load all of them first, and move.
      int64_t atOnce = full ? family.productsTogether(panel) : 0, step = atOnce ? atOnce * family.depth : count;
      for (int64_t done = 0; done < count; done += step) {
        if (done > 0)
          from = code.after(from, now.front()) + step;
        int64_t products = std::min(step, count - done) / family.depth;
        Loaded loaded;
        emitProducts(group, from, products, 0, rowCells, loadRhs(group, {0, units}, from, products), loaded, now);
      }
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

  Var addGroup(const Group &group, int64_t row, int64_t cell, Var value, std::optional<Var> sum) {
    Var groupIndex = group.block * panel.blockGroups + group.inner;
    if (activations.perGroup)
      value = value * family.perRow(code, operands.lhs, sideAt(activations.scalesAt(), groupIndex, row * family.cellRows));
    Var result = sum ? code.fma(value, group.scales[cell], *sum) : value * group.scales[cell];
    if (panel.zeros)
      result = code.fma(family.perRow(code, operands.lhs, sideAt(activations.correctionsAt(), groupIndex, row * family.cellRows)),
                        group.zeros[cell] * group.scales[cell], result);
    return result;
  }

  SmallVector<TileSums> finish(ArrayRef<Var> sums) {
    SmallVector<TileSums> tile;
    for (int64_t row = 0; row < rowCells; ++row) {
      int64_t i = row * family.cellRows;
      SmallVector<Var> scaled(sums.slice(row * cells, cells));
      if (!activations.floats && !activations.perGroup) {
        Var scale = family.perRow(code, operands.lhs, sideAt(activations.scalesAt(), code.index(0), i));
        for (Var &sum : scaled)
          sum = sum * scale;
      }
      for (int64_t u = 0; u < units; ++u)
        family.rows(code, ArrayRef(scaled).slice(u * cellsOfUnit, cellsOfUnit), i, u * unit, tile);
    }
    if (operands.outliers)
      addOutliers(tile);
    return tile;
  }

  /// What the input channels add that are floats: a small product of its own, on the sums of this one.
  void addOutliers(SmallVectorImpl<TileSums> &tile) {
    llvm::sort(tile, [](const TileSums &a, const TileSums &b) { return std::tie(a.i, a.j) < std::tie(b.i, b.j); });
    int64_t lanes = cast<VectorType>(tile.front().sums.type()).getNumElements(), count = operands.outliers->count;
    TileOperands floats{operands.outliers->values, {}, operands.outliers->panels, {}, kPanel};
    SmallVector<Var> sums;
    for (const TileSums &part : tile) {
      sums.push_back(part.sums);
      if (part.j == 0)
        floats.rows.push_back(outlierRow + part.i * count);
      if (part.i == 0)
        floats.columns.push_back(outlierColumn + (part.j / kPanel * kPanel * count + part.j % kPanel));
    }
    for (auto [part, sum] : llvm::zip_equal(tile, emitTile(code, fmaFamily(lanes), floats, code.index(count), 1, sums)))
      part.sums = sum;
  }

  Code &code;
  const Kernel &kernel;
  const DotFamily &family;
  const QuantizedOperands &operands;
  const ActivationLayout &activations;
  const edge::QuantizedPanel &panel;
  int64_t unit, units, cellsOfUnit, cells, rowCells;
  Var firstPanel;                ///< the byte of the tile's first panel
  Var numbers, scales;           ///< bytes in it before those of the tile's first channel
  Var lhs;                       ///< the byte of the tile's first row
  Var sides;                     ///< its first byte in a table beside the activations
  Var biases;                    ///< bytes from a group's first row to what sums start with
  Var outlierRow, outlierColumn; ///< the tile's first elements of either side
};

} // namespace

void emitQuantizedMatrix(Code &code, const Matrix &matrix, Var task, Var start, function_ref<QuantizedOperands(Var)> operands,
                         MatrixStore store) {
  auto body = [&](const Kernel &kernel, int64_t columns, Var row, Var column, Var product) {
    QuantizedOperands chosen = operands(product);
    return QuantizedTile(code, matrix, kernel, columns, chosen, row, column).emit();
  };
  emitTiles(code, matrix, task, start, body, store);
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
    Var first = block + inner * panel.numberBytes + inside / unit * panel.unitBytes + panel.numbersAt(0);
    if (!panel.pairs)
      first = first + inside % unit * 4;
    auto put = [&](Var to, Var numbers, int64_t count) {
      if (count < cast<VectorType>(numbers.type()).getNumElements())
        numbers =
            count == 1 ? code.extract(numbers, 0) : code.shuffle(numbers, numbers, llvm::to_vector(llvm::seq<int64_t>(0, count)));
      Type i32 = code.getI32Type(), f32 = code.getF32Type();
      Type ints = count == 1 ? i32 : Type(code.vectorOf(count, i32)), floats = count == 1 ? f32 : Type(code.vectorOf(count, f32));
      Var wide = panel.order.isSigned() ? code.var(arith::ExtSIOp::create(code, ints, Value(numbers)))
                                        : code.var(arith::ExtUIOp::create(code, ints, Value(numbers)));
      Var real = code.var(arith::SIToFPOp::create(code, floats, Value(wide)));
      store(to, (real - code.splat(zero, count)) * code.splat(scale, count));
    };
    auto low = [&](Var raw) { return panel.order.isSigned() ? shiftSigned(raw << 4, 4) : raw & raw.same(15); };
    auto high = [&](Var raw) { return panel.order.isSigned() ? shiftSigned(raw, 4) : raw >> 4; };
    auto emitStep = [&](Var index, int64_t count) {
      Var to = group * panel.size + index * step;
      if (panel.pairs) {
        Var channel = inside % unit;
        Var raw = code.loadRaw(panels, first + index * panel.stepBytes + (panel.bits == 8 ? channel : channel % 2) * 8, 8);
        if (panel.bits == 4)
          raw = select(code.splat(channel < 2, 8), low(raw), high(raw));
        return put(to, raw, count);
      }
      Var raw = code.loadRaw(panels, first + index * panel.stepBytes, 4);
      if (panel.bits == 8)
        return put(to, raw, count);
      put(to, low(raw), std::min<int64_t>(count, 4));
      if (count > 4)
        put(to + 4, high(raw), count - 4);
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

//===- LowerLinear.cpp - edge.linear ----------------------------------------===//
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "passes/kernels/Quantized.h"
#include "passes/lower/Lower.h"

using namespace mlir;
namespace edgecc::lower {
namespace {

/// The region of a linear, applied to one sum or a vector of them.
class Epilogue {
public:
  explicit Epilogue(edge::LinearOp op) : op(op) {}

  /// All that the region uses and does must fit into a kernel.
  LogicalResult check() {
    if (op.getEpilogue().empty())
      return success();
    for (Operation &inner : op.getEpilogue().front().without_terminator()) {
      vectorizes &= inner.hasTrait<OpTrait::ConstantLike>() || OpTrait::hasElementwiseMappableTraits(&inner);
      if (inner.getNumRegions())
        return op.emitOpError("has an epilogue with a region in it: ") << inner.getName();
      for (Value operand : inner.getOperands())
        if (operand.getParentRegion() != &op.getEpilogue() && !matchConstant(operand))
          return op.emitOpError("has an epilogue that captures a value which is no constant");
    }
    return success();
  }

  /// Whether it is more than a few instructions.
  bool isLong() const {
    if (op.getEpilogue().empty())
      return false;
    Block &block = op.getEpilogue().front();
    constexpr unsigned kFew = 8;
    return !llvm::hasNItemsOrLess(block, kFew) ||
           llvm::any_of(block, [](Operation &inner) { return isa<math::MathDialect>(inner.getDialect()); });
  }

  /// Sums of channels from `column` on, at `place` in the result -> its elements. `extras` are flat buffers.
  Var apply(Code &code, ArrayRef<Value> extras, Var place, Var column, Var sums) const {
    if (op.getEpilogue().empty())
      return sums;
    auto vector = dyn_cast<VectorType>(sums.type());
    int64_t count = vector ? vector.getNumElements() : 1;
    Block &block = op.getEpilogue().front();
    SmallVector<Var> inputs{sums};
    for (auto [extra, buffer, arg] : llvm::zip(op.getExtras(), extras, block.getArguments().drop_front())) {
      bool perChannel = cast<RankedTensorType>(extra.getType()).getRank() == 1 && op.getResult().getType().getRank() != 1;
      Var element = code.loadRaw(buffer, perChannel ? column : place, count);
      if (arg.getType().isInteger(1))
        element = code.var(arith::CmpIOp::create(code, arith::CmpIPredicate::ne, element, element.same(0)));
      inputs.push_back(element);
    }
    if (count == 1 || vectorizes)
      return inlineRegion(code, inputs, count);
    Type element = block.getTerminator()->getOperand(0).getType();
    Var result = code.splat(code.var(arith::ConstantOp::create(code, cast<TypedAttr>(code.getZeroAttr(element)))), count);
    for (int64_t lane = 0; lane < count; ++lane) {
      SmallVector<Var> scalars;
      for (Var input : inputs)
        scalars.push_back(code.extract(input, lane));
      result = code.var(vector::InsertOp::create(code, inlineRegion(code, scalars, 1), result, lane));
    }
    return result;
  }

private:
  static bool matchConstant(Value value) {
    Operation *def = value.getDefiningOp();
    return def && def->hasTrait<OpTrait::ConstantLike>();
  }

  Var inlineRegion(Code &code, ArrayRef<Var> inputs, int64_t count) const {
    Block &block = op.getEpilogue().front();
    IRMapping mapping;
    for (auto [arg, input] : llvm::zip(block.getArguments(), inputs))
      mapping.map(arg, Value(input));
    auto wide = [&](Type type) { return count == 1 ? type : Type(VectorType::get({count}, type)); };
    auto mapped = [&](Value value) {
      if (!mapping.contains(value)) {
        auto constant = code.var(code.clone(*value.getDefiningOp())->getResult(0));
        mapping.map(value, Value(code.splat(constant, count)));
      }
      return mapping.lookup(value);
    };
    for (Operation &inner : block.without_terminator()) {
      if (inner.hasTrait<OpTrait::ConstantLike>())
        continue;
      SmallVector<Value> operands = llvm::map_to_vector(inner.getOperands(), mapped);
      OperationState state(inner.getLoc(), inner.getName());
      state.addOperands(operands);
      state.addTypes(llvm::map_to_vector(inner.getResultTypes(), wide));
      state.addAttributes(inner.getAttrs());
      Operation *clone = code.create(state);
      mapping.map(inner.getResults(), clone->getResults());
    }
    return code.var(mapped(block.getTerminator()->getOperand(0)));
  }

  mutable edge::LinearOp op;
  bool vectorizes = true;
};

/// Sums -> epilogue -> result, with care for the last panel.
class Store {
public:
  Store(edge::LinearOp op, const Epilogue &epilogue, Code &code, ArrayRef<Value> extras, Value result)
      : epilogue(epilogue), code(code), extras(extras), result(result), n(op.outputChannels()) {}

  /// Sums of channels that may lie beyond the last one, where a panel is filled up.
  void operator()(Var row, int64_t i, Var column, int64_t j, Var sums) {
    auto vector = dyn_cast<VectorType>(sums.type());
    int64_t lanes = vector ? vector.getNumElements() : 1;
    Var place = row * n + column + (i * n + j), channel = column + j;
    if (n % edge::kPanelWidth == 0)
      return whole(place, channel, sums);
    if (n % lanes == 0)
      return code.branch(channel < n, [&] { whole(place, channel, sums); });
    code.branch(channel + lanes <= n, [&] { whole(place, channel, sums); }, [&] {
      if (!spill)
        spill = code.stack(edge::kPanelWidth);
      code.store(spill, code.index(0), sums);
      code.loop(channel, code.index(n), 1, [&](Var at) { whole(place + (at - channel), at, code.load(spill, at - channel)); });
    });
  }

  /// Sums of channels that exist, at a place in the result.
  void whole(Var place, Var channel, Var sums) { code.store(result, place, epilogue.apply(code, extras, place, channel, sums)); }

private:
  const Epilogue &epilogue;
  Code &code;
  ArrayRef<Value> extras;
  Value result, spill;
  int64_t n;
};

} // namespace

// A right side that is not packed is no weight but something computed: no kernel row, but the same tiles where rows of k lie
// together, and dot products where columns do.
static void lowerUnpacked(Code &code, edge::LinearOp op, Var firstRow, Var lastRow, Value lhs, Value rhs, const Machine &machine,
                          Store &store) {
  int64_t k = op.inputChannels(), n = op.outputChannels();
  if (op.getLayout() == edge::WeightLayout::NK) {
    code.loop(firstRow, lastRow, 1, [&](Var row) {
      code.loop(code.index(0), code.index(n), 1, [&](Var column) {
        store.whole(row * n + column, column, code.sweep(code.index(k), Fold::Add, code.f32(0), [&](Var i, int64_t count) {
          return code.load(lhs, row * k + i, count) * code.load(rhs, column * k + i, count);
        }));
      });
    });
    return;
  }
  auto tile = [&](int64_t m, int64_t lanes, Var row, Var column) {
    const FloatFamily &family = fmaFamily(lanes);
    TileOperands operands{lhs, {}, rhs, {column}, n};
    for (int64_t i = 0; i < m; ++i)
      operands.rows.push_back((row + i) * k);
    SmallVector<Var> zeros(m, family.zero(code));
    auto sums = emitTile(code, family, operands, code.index(k), 1, zeros);
    for (int64_t i = 0; i < m; ++i)
      store.whole((row + i) * n + column, column, sums[i]);
  };
  int64_t lanes = machine.lanes(), whole = n - n % lanes;
  Var tall = lastRow - (lastRow - firstRow) % 4;
  auto columns = [&](int64_t m, Var row) {
    code.loop(code.index(0), code.index(whole), lanes, [&](Var column) { tile(m, lanes, row, column); });
    code.loop(code.index(whole), code.index(n), 1, [&](Var column) { tile(m, 1, row, column); });
  };
  code.loop(firstRow, tall, 4, [&](Var row) { columns(4, row); });
  code.loop(tall, lastRow, 1, [&](Var row) { columns(1, row); });
}

InputQuantizer::Input InputQuantizer::of(edge::LinearOp op, const ActivationLayout *layout) {
  Value values = op.getInput(), indices = op.getOutliers();
  if (!layout && !indices)
    return {values, {}};
  for (Known &known : done[values])
    if (known.indices == indices && (layout ? known.layout && *known.layout == *layout : !known.layout))
      return known.input;
  AffineExpr rows = leading(op.getInput().getType());
  auto context = op.getContext();
  auto size = [&](int64_t value) { return getAffineConstantExpr(value, context); };
  int64_t k = op.inputChannels(), height = layout ? layout->rows : 1;
  int64_t count = indices ? cast<RankedTensorType>(indices.getType()).getDimSize(0) : 0;
  AffineExpr blocks = edge::canonical(rows.ceilDiv(height));
  SmallVector<Value> ins{values};
  SmallVector<Type> types;
  if (layout)
    types.push_back(edge::tensorType({blocks, size(layout->bytes())}, IntegerType::get(context, 8)));
  if (indices) {
    ins.push_back(indices);
    types.push_back(edge::tensorType({edge::canonical(blocks * height), size(count)}, Float32Type::get(context)));
  }
  int64_t perTask = rowsPerTask(size((layout ? k : count) * height));
  OpBuilder builder(op);
  auto kernel = createKernel(builder, op.getLoc(), layout ? "quantize" : "outliers", blocks.ceilDiv(perTask), ins, {}, types,
                             machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    std::optional<OutlierValues> outliers;
    if (indices)
      outliers = {buffers[1], buffers.back(), count};
    forRows(code, task, perTask, blocks, [&](Var block) {
      layout ? emitQuantization(code, *layout, block, rows, buffers[0], buffers[ins.size()], outliers)
             : emitOutlierValues(code, *outliers, buffers[0], block, k, block);
    });
  });
  Input input{layout ? kernel.getResult(0) : values, indices ? kernel.getResults().back() : Value()};
  done[values].push_back({layout ? std::optional(*layout) : std::nullopt, indices, input});
  return input;
}

static LogicalResult lowerQuantized(edge::LinearOp op, const Epilogue &epilogue, InputQuantizer &inputs, const Machine &machine) {
  if (op.getLayout() != edge::WeightLayout::Panels)
    return op.emitOpError("has a quantized weight in layout nk; edge-pack-weights must have run");
  edge::PanelOrder order(machine.arch());
  edge::QuantizedPanel panel(*op.getQuantization(), op.inputChannels(), order);
  if (op.getWeight().getType().getDimSize(1) != panel.bytes)
    return op.emitOpError("has panels of ") << op.getWeight().getType().getDimSize(1) << " bytes, but those of "
                                            << (machine.arch().empty() ? "any machine" : machine.arch()) << " have "
                                            << panel.bytes << "; weights must be packed for the architecture of edge.target";
  AffineExpr rows = leading(op.getInput().getType());
  auto precision = op.getQuantization()->getActivations();
  bool floats = precision == edge::ActivationPrecision::Float;
  auto kernels = quantizedKernels(machine, panel, floats, rows);
  if (kernels.empty())
    return op.emitOpError("has no kernel for the quantization ") << *op.getQuantization();
  Matrix matrix{rows, op.outputChannels(), op.inputChannels(), kernels, epilogue.isLong()};
  std::optional<ActivationLayout> activations;
  if (!floats)
    activations.emplace(*kernels.front(), panel, precision, op.inputChannels());
  InputQuantizer::Input input = inputs.of(op, activations ? &*activations : nullptr);
  SmallVector<Value> ins{input.values, op.getWeight()};
  if (input.outliers)
    ins.append({input.outliers, op.getOutlierWeights()});
  size_t own = ins.size();
  llvm::append_range(ins, op.getExtras());
  OpBuilder builder(op);
  auto kernel = createKernel(builder, op.getLoc(), "linear", matrixTasks(matrix), ins, {}, op->getResultTypes(),
                             machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    Store store(op, epilogue, code, buffers.drop_front(own).drop_back(), buffers.back());
    QuantizedOperands operands{buffers[0], activations ? &*activations : nullptr, buffers[1], panel, {}};
    if (input.outliers)
      operands.outliers = {buffers[2], buffers[3], cast<RankedTensorType>(op.getOutliers().getType()).getDimSize(0)};
    emitQuantizedMatrix(code, matrix, task, operands, store);
  });
  op->replaceAllUsesWith(kernel);
  op->erase();
  return success();
}

LogicalResult lowerLinear(edge::LinearOp op, InputQuantizer &inputs, const Machine &machine) {
  if (ShapedType::isDynamic(op.inputChannels()) || ShapedType::isDynamic(op.outputChannels()))
    return op.emitOpError("needs static channels, but has ") << op.getInput().getType() << " and " << op.getWeight().getType();
  Epilogue epilogue(op);
  if (failed(epilogue.check()))
    return failure();

  if (op.getQuantization())
    return lowerQuantized(op, epilogue, inputs, machine);

  bool packed = op.getLayout() == edge::WeightLayout::Panels;
  SmallVector<const Kernel *> kernels;
  if (auto type = kernelType(op.getWeight().getType().getElementType()))
    kernels = kernelsFor(machine, KernelType::F32, *type);
  if (packed && kernels.empty())
    return op.emitOpError("has no kernel for weights of type ") << op.getWeight().getType().getElementType();
  AffineExpr rows = leading(op.getInput().getType());
  Matrix matrix{rows, op.outputChannels(), op.inputChannels(), kernels, epilogue.isLong()};
  constexpr int64_t kUnpackedRows = 4;
  AffineExpr tasks = packed ? matrixTasks(matrix) : rows.ceilDiv(kUnpackedRows);

  SmallVector<Value> ins{op.getInput(), op.getWeight()};
  llvm::append_range(ins, op.getExtras());
  OpBuilder builder(op);
  auto kernel = createKernel(builder, op.getLoc(), "linear", tasks, ins, {}, op->getResultTypes(), machine.sweepLanes(),
                             [&](Code &code, Var task, ArrayRef<Value> buffers) {
    Store store(op, epilogue, code, buffers.drop_front(2).drop_back(), buffers.back());
    if (packed)
      return emitMatrix(code, matrix, task, buffers[0], buffers[1], store);
    Var first = task * kUnpackedRows, last = min(first + kUnpackedRows, code.size(rows));
    lowerUnpacked(code, op, first, last, buffers[0], buffers[1], machine, store);
  });
  op->replaceAllUsesWith(kernel);
  op->erase();
  return success();
}

} // namespace edgecc::lower

//===- LowerLinear.cpp - edge.linear ----------------------------------------===//
#include "passes/kernels/Quantized.h"
#include "passes/lower/Epilogue.h"
#include "passes/lower/FusedRows.h"
#include "passes/lower/Lower.h"
#include <numeric>

using namespace mlir;
namespace edgecc::lower {
namespace {

/// The buffers of a linear beside its input, flat.
struct Buffers {
  Value panels, outlierPanels;
  SmallVector<Value> extras;
};

/// Sums -> epilogue -> result, with care for the last panel.
class Store {
public:
  /// `n` is the result's width, which the kernel may have to find out.
  Store(const Epilogue &epilogue, Code &code, ArrayRef<Value> extras, Value result, Var n)
      : epilogue(epilogue), code(code), extras(extras), result(result), n(n) {}

  /// A second product's sums go through its own epilogue first and are what `extras` lacks.
  void setGate(const Epilogue &gate, ArrayRef<Value> itsExtras, Type itsElement) {
    this->gate = &gate, gateExtras = itsExtras, gateElement = itsElement;
  }

  /// Sums of channels that may lie beyond the last one, where a panel is filled up.
  void operator()(Var row, int64_t i, Var column, int64_t j, ArrayRef<Var> sums) {
    auto vector = dyn_cast<VectorType>(sums.front().type());
    int64_t lanes = vector ? vector.getNumElements() : 1, width = n.known().value_or(0);
    Var place = row * n + column + (n * i + j), channel = column + j;
    if (width % edge::kPanelWidth == 0)
      return whole(place, channel, sums);
    if (width % lanes == 0)
      return code.branch(channel < n, [&] { whole(place, channel, sums); });
    code.branch(channel + lanes <= n, [&] { whole(place, channel, sums); }, [&] {
      if (!spill)
        spill = code.stack(edge::kPanelWidth * 2);
      for (auto [index, sum] : llvm::enumerate(sums))
        code.store(spill, code.index(index * edge::kPanelWidth), sum);
      code.loop(channel, n, 1, [&](Var at) {
        SmallVector<Var> single;
        for (size_t index = 0; index < sums.size(); ++index)
          single.push_back(code.load(spill, at - channel + index * edge::kPanelWidth));
        whole(place + (at - channel), at, single);
      });
    });
  }

  /// Sums of channels that exist, at a place in the result.
  void whole(Var place, Var channel, ArrayRef<Var> sums) {
    std::optional<Var> given;
    if (gate)
      given = code.convert(gate->apply(code, gateExtras, place, channel, sums.back()), gateElement);
    code.store(result, place, epilogue.apply(code, extras, place, channel, sums.front(), given));
  }

private:
  const Epilogue &epilogue;
  Code &code;
  ArrayRef<Value> extras;
  Value result, spill;
  Var n;
  const Epilogue *gate = nullptr;
  ArrayRef<Value> gateExtras;
  Type gateElement;
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
        store.whole(row * n + column, column, {code.dot(code.index(k), [&](Var i, int64_t count) {
          return std::pair(code.load(lhs, row * k + i, count), code.load(rhs, column * k + i, count));
        })});
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

InputQuantizer::Input InputQuantizer::of(edge::LinearOp op, const ActivationLayout &layout) {
  Value values = op.getInput(), indices = op.getOutliers();
  for (Known &known : done[values])
    if (known.indices == indices && known.layout == layout)
      return known.input;
  AffineExpr rows = leading(op.getInput().getType()), blocks = edge::canonical(rows.ceilDiv(layout.rows));
  auto context = op.getContext();
  auto size = [&](int64_t value) { return getAffineConstantExpr(value, context); };
  int64_t count = indices ? cast<RankedTensorType>(indices.getType()).getDimSize(0) : 0;
  FusedRows source(values);
  SmallVector<Value> ins(source.inputs());
  SmallVector<Type> types{edge::tensorType({blocks, size(layout.bytes())}, IntegerType::get(context, 8))};
  if (indices) {
    ins.push_back(indices);
    types.push_back(edge::tensorType({edge::canonical(blocks * layout.rows), size(count)}, Float32Type::get(context)));
  }
  int64_t perTask = rowsPerTask(size(layout.k * layout.rows));
  OpBuilder builder(op);
  auto kernel = createKernel(builder, op.getLoc(), source.name(layout.floats ? "widen" : "quantize"), blocks.ceilDiv(perTask),
                             ins, {}, types, machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    source.enter(code, buffers);
    std::optional<OutlierValues> outliers;
    if (indices)
      outliers = {buffers[ins.size() - 1], buffers.back(), count};
    forRows(code, task, perTask, blocks, [&](Var block) {
      emitActivations(code, layout, block, rows, [&](Var row) { return source(code, row); }, buffers[ins.size()], outliers);
    });
  });
  Input input{kernel.getResult(0), indices ? kernel.getResult(1) : Value()};
  done[values].push_back({layout, indices, input});
  return input;
}

SmallVector<const Kernel *> kernelsOf(edge::LinearOp op, const Machine &machine) {
  if (auto quantization = op.getQuantization())
    return quantizedKernels(machine, edge::QuantizedPanel(*quantization, op.inputChannels(), edge::PanelOrder(machine.arch())),
                            quantization->getActivations() == edge::ActivationPrecision::Float, leading(op.getInput().getType()));
  auto type = kernelType(op.getWeight().getType().getElementType());
  return type ? kernelsFor(machine, KernelType::F32, *type) : SmallVector<const Kernel *>();
}

std::optional<ActivationLayout> activationLayout(edge::LinearOp op, const Machine &machine) {
  auto quantization = op.getQuantization();
  auto kernels = quantization ? kernelsOf(op, machine) : SmallVector<const Kernel *>();
  if (kernels.empty())
    return std::nullopt;
  edge::QuantizedPanel panel(*quantization, op.inputChannels(), edge::PanelOrder(machine.arch()));
  return ActivationLayout(*kernels.front(), panel, quantization->getActivations(), op.inputChannels());
}

/// What a linear must be for a kernel.
static LogicalResult check(edge::LinearOp op, ArrayRef<const Kernel *> kernels, const Machine &machine) {
  if (ShapedType::isDynamic(op.inputChannels()) || ShapedType::isDynamic(op.outputChannels()))
    return op.emitOpError("needs static channels, but has ") << op.getInput().getType() << " and " << op.getWeight().getType();
  bool packed = op.getLayout() == edge::WeightLayout::Panels;
  auto quantization = op.getQuantization();
  if (!quantization) {
    if (packed && kernels.empty())
      return op.emitOpError("has no kernel for weights of type ") << op.getWeight().getType().getElementType();
    return success();
  }
  if (!packed)
    return op.emitOpError("has a quantized weight in layout nk; edge-pack-weights must have run");
  int64_t bytes = edge::QuantizedPanel(*quantization, op.inputChannels(), edge::PanelOrder(machine.arch())).bytes;
  if (op.getWeight().getType().getDimSize(1) != bytes)
    return op.emitOpError("has panels of ") << op.getWeight().getType().getDimSize(1) << " bytes, but those of "
                                            << (machine.arch().empty() ? "any machine" : machine.arch()) << " have " << bytes
                                            << "; weights must be packed for the architecture of edge.target";
  if (kernels.empty())
    return op.emitOpError("has no kernel for the quantization ") << *quantization;
  return success();
}

/// A right side that was computed.
static void lowerComputed(edge::LinearOp op, const Epilogue &epilogue, const Machine &machine) {
  constexpr int64_t kRows = 4;
  AffineExpr rows = leading(op.getInput().getType());
  SmallVector<Value> ins{op.getInput(), op.getWeight()};
  llvm::append_range(ins, op.getExtras());
  OpBuilder builder(op);
  auto kernel = createKernel(builder, op.getLoc(), "linear", rows.ceilDiv(kRows), ins, {}, op->getResultTypes(),
                             machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    Store store(epilogue, code, buffers.drop_front(2).drop_back(), buffers.back(), code.index(op.outputChannels()));
    Var first = task * kRows, last = min(first + kRows, code.size(rows));
    lowerUnpacked(code, op, first, last, buffers[0], buffers[1], machine, store);
  });
  op->replaceAllUsesWith(kernel);
  op->erase();
}

LogicalResult lowerLinear(const LinearGroup &group, InputQuantizer &inputs, const Machine &machine) {
  edge::LinearOp op = group.parts.front(), gate = group.gate;
  auto kernels = kernelsOf(op, machine);
  Epilogue epilogue(op), gateEpilogue(gate);
  if (failed(check(op, kernels, machine)) || failed(epilogue.check()) || (gate && failed(gateEpilogue.check())))
    return failure();
  if (op.getLayout() != edge::WeightLayout::Panels) {
    lowerComputed(op, epilogue, machine);
    return success();
  }

  Matrix matrix{leading(op.getInput().getType()), 0, op.inputChannels(), kernels, epilogue.isLong()};
  matrix.products = gate ? 2 : 1;
  SmallVector<int64_t> starts, widths;
  for (edge::LinearOp part : group.parts) {
    starts.push_back(matrix.n);
    widths.push_back(part.outputChannels());
    matrix.n += widths.back();
    if (group.parts.size() > 1)
      matrix.granule = std::gcd(matrix.granule, widths.back() / edge::kPanelWidth);
  }
  std::optional<edge::QuantizedPanel> panel;
  auto activations = activationLayout(op, machine);
  InputQuantizer::Input input{op.getInput(), {}};
  if (activations) {
    panel.emplace(*op.getQuantization(), op.inputChannels(), edge::PanelOrder(machine.arch()));
    input = inputs.of(op, *activations);
  }
  int64_t outliers = input.outliers ? cast<RankedTensorType>(op.getOutliers().getType()).getDimSize(0) : 0;

  // Behind the input: of each linear its weight, its outliers' weights, its extras; then the results.
  SmallVector<Value> ins{input.values};
  if (outliers)
    ins.push_back(input.outliers);
  SmallVector<edge::LinearOp> all(group.parts);
  if (gate)
    all.push_back(gate);
  SmallVector<Type> types;
  SmallVector<Location> locations;
  for (edge::LinearOp linear : all) {
    ins.push_back(linear.getWeight());
    if (outliers)
      ins.push_back(linear.getOutlierWeights());
    for (Value extra : linear.getExtras())
      if (!gate || extra != gate.getResult())
        ins.push_back(extra);
    if (linear != gate)
      types.push_back(linear.getResult().getType());
    locations.push_back(linear.getLoc());
  }
  OpBuilder builder(op);
  auto kernel = createKernel(builder, builder.getFusedLoc(locations), "linear", matrixTasks(matrix), ins, {}, types,
                             machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    ArrayRef<Value> rest = buffers.drop_front(outliers ? 2 : 1);
    auto next = [&] {
      Value first = rest.front();
      rest = rest.drop_front();
      return first;
    };
    SmallVector<Buffers> own;
    for (edge::LinearOp linear : all) {
      Buffers its{next(), outliers ? next() : Value(), {}};
      for (Value extra : linear.getExtras())
        its.extras.push_back(gate && extra == gate.getResult() ? Value() : next());
      own.push_back(its);
    }
    // Which part the task belongs to.
    Var part = code.index(0), start = part, n = code.index(widths[0]);
    for (size_t i = 1; i < starts.size(); ++i) {
      Var reached = code.index(starts[i]) <= firstColumn(code, matrix, task);
      part = select(reached, code.index(i), part);
      start = select(reached, code.index(starts[i]), start);
      n = select(reached, code.index(widths[i]), n);
    }
    auto chosen = [&](auto buffer) {
      SmallVector<Value> candidates;
      for (const Buffers &its : ArrayRef(own).take_front(group.parts.size()))
        candidates.push_back(buffer(its));
      return code.choose(part, candidates);
    };
    Buffers mine{chosen([](const Buffers &its) { return its.panels; }), {}, {}};
    if (outliers)
      mine.outlierPanels = chosen([](const Buffers &its) { return its.outlierPanels; });
    for (size_t i = 0; i < own.front().extras.size(); ++i)
      mine.extras.push_back(own.front().extras[i] ? chosen([i](const Buffers &its) { return its.extras[i]; }) : Value());

    Store store(epilogue, code, mine.extras, code.choose(part, rest), n);
    SmallVector<Value> panels{mine.panels}, outlierPanels{mine.outlierPanels};
    if (gate) {
      store.setGate(gateEpilogue, own.back().extras, gate.getResult().getType().getElementType());
      panels.push_back(own.back().panels), outlierPanels.push_back(own.back().outlierPanels);
    }
    if (!panel)
      return emitMatrix(code, matrix, task, start, buffers[0], panels, store);
    emitQuantizedMatrix(code, matrix, task, start, [&](Var product) {
      QuantizedOperands operands{buffers[0], *activations, code.choose(product, panels), *panel, {}};
      if (outliers)
        operands.outliers = {buffers[1], code.choose(product, outlierPanels), outliers};
      return operands;
    }, store);
  });
  for (auto [linear, result] : llvm::zip_equal(group.parts, kernel.getResults())) {
    edge::LinearOp done = linear;
    done.getResult().replaceAllUsesWith(result);
    done->erase();
  }
  if (gate)
    gate->erase();
  return success();
}

} // namespace edgecc::lower

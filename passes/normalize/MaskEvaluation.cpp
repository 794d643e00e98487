//===- MaskEvaluation.cpp - Masks are what they evaluate to -----------------===//
#include "passes/normalize/MaskEvaluation.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
namespace edgecc {

// A graph over sizes is small. What takes more than this is no mask, or a mask that nobody should wait for.
static constexpr int64_t kMaxSteps = 500'000, kMaxReduction = 8192;
// Up to so many points of a mask are all looked at.
static constexpr int64_t kFewPoints = 1024;

//===----------------------------------------------------------------------===//
// Points
//===----------------------------------------------------------------------===//

int64_t PointEvaluator::size(AffineExpr expr) const {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return symbol.getPosition() < symbols.size() ? symbols[symbol.getPosition()] : 0;
  auto binary = cast<AffineBinaryOpExpr>(expr);
  int64_t a = size(binary.getLHS()), b = size(binary.getRHS());
  switch (expr.getKind()) {
  case AffineExprKind::Add: return a + b;
  case AffineExprKind::Mul: return a * b;
  case AffineExprKind::Mod: return b > 0 ? llvm::mod(a, b) : 0;
  case AffineExprKind::FloorDiv: return b > 0 ? llvm::divideFloorSigned(a, b) : 0;
  default: return b > 0 ? llvm::divideCeilSigned(a, b) : 0;
  }
}

TypedAttr PointEvaluator::constantElement(ElementsAttr constant, int64_t index) {
  Type type = constant.getElementType();
  if (index < 0 || index >= constant.getNumElements())
    return {};
  if (auto dense = dyn_cast<DenseElementsAttr>(constant))
    return cast<TypedAttr>(dense.getValues<Attribute>()[index]);
  auto resource = dyn_cast<DenseResourceElementsAttr>(constant);
  if (!resource || !resource.getRawHandle().getBlob() || !type.isIntOrFloat())
    return {};
  ArrayRef<char> bytes = resource.getRawHandle().getBlob()->getData();
  int64_t width = edge::elementBytes(type);
  if ((index + 1) * width > int64_t(bytes.size()))
    return {};
  uint64_t bits = 0;
  memcpy(&bits, bytes.data() + index * width, width);
  unsigned bitWidth = type.getIntOrFloatBitWidth();
  APInt value(bitWidth, bits, /*isSigned=*/false, /*implicitTrunc=*/true);
  if (auto floating = dyn_cast<FloatType>(type))
    return FloatAttr::get(type, APFloat(floating.getFloatSemantics(), value));
  return IntegerAttr::get(type, value);
}

TypedAttr PointEvaluator::element(Value tensor, ArrayRef<int64_t> indices) {
  if (++steps > kMaxSteps)
    return {};
  auto shape = edge::shapeOf(tensor);
  for (auto [index, extent] : llvm::zip(indices, shape))
    if (index < 0 || index >= size(extent))
      return {};
  std::pair<void *, SmallVector<int64_t, 4>> key(tensor.getAsOpaquePointer(), SmallVector<int64_t, 4>(indices));
  if (auto it = known.find(key); it != known.end())
    return it->second;
  TypedAttr result = compute(tensor, indices);
  return known[key] = result;
}

std::optional<double> PointEvaluator::number(Value tensor, ArrayRef<int64_t> indices) {
  TypedAttr value = element(tensor, indices);
  if (auto integer = dyn_cast_or_null<IntegerAttr>(value))
    return integer.getType().isInteger(1) ? double(integer.getValue().getZExtValue()) : double(integer.getValue().getSExtValue());
  if (auto floating = dyn_cast_or_null<FloatAttr>(value))
    return floating.getValueAsDouble();
  return std::nullopt;
}

TypedAttr PointEvaluator::compute(Value tensor, ArrayRef<int64_t> indices) {
  Operation *op = tensor.getDefiningOp();
  if (!op)
    return {};
  auto linear = [&] {
    int64_t position = 0;
    for (auto [index, extent] : llvm::zip(indices, edge::shapeOf(tensor)))
      position = position * size(extent) + index;
    return position;
  };
  if (auto weight = dyn_cast<edge::WeightOp>(op))
    return constantElement(weight.getValue(), linear());
  if (auto reshape = dyn_cast<edge::ReshapeOp>(op)) {
    int64_t position = linear();
    SmallVector<int64_t> source;
    const edge::SymbolicShape shape = edge::shapeOf(reshape.getInput());
    for (AffineExpr extent : llvm::reverse(shape)) {
      int64_t count = size(extent);
      if (count <= 0)
        return {};
      source.insert(source.begin(), position % count);
      position /= count;
    }
    return element(reshape.getInput(), source);
  }
  if (auto fill = dyn_cast<linalg::FillOp>(op))
    return scalar(fill.getInputs()[0], nullptr);
  if (auto kernel = dyn_cast<edge::KernelOp>(op); kernel && kernel.getName() == "concat") {
    // The one kernel among moves; what it does is said by its operands: [rows, n0], [rows, n1], ... -> [rows, n0 + n1 + ...].
    int64_t column = indices[1];
    for (Value input : kernel.getIns()) {
      int64_t width = size(edge::shapeOf(input)[1]);
      if (column < width)
        return element(input, {indices[0], column});
      column -= width;
    }
    return {};
  }
  if (auto loops = dyn_cast<linalg::GenericOp>(op))
    return generic(loops, cast<OpResult>(tensor).getResultNumber(), indices);
  return {};
}

TypedAttr PointEvaluator::generic(linalg::GenericOp op, unsigned result, ArrayRef<int64_t> indices) {
  AffineMap output = op.getMatchingIndexingMap(op.getDpsInitOperand(result));
  Frame frame;
  frame.generic = op;
  frame.loops.assign(op.getNumLoops(), 0);
  for (auto [index, expr] : llvm::zip(indices, output.getResults())) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (!dim)
      return {};
    frame.loops[dim.getPosition()] = index;
  }
  Value yielded = op.getBody()->getTerminator()->getOperand(result);
  if (op.getNumReductionLoops() == 0)
    return scalar(yielded, &frame);
  if (op.getNumReductionLoops() != 1)
    return {};
  // One reduced dimension, in order.
  SmallVector<unsigned> reduced;
  op.getReductionDims(reduced);
  int64_t count = -1;
  for (OpOperand *input : op.getDpsInputOperands())
    for (auto [i, expr] : llvm::enumerate(op.getMatchingIndexingMap(input).getResults()))
      if (expr == getAffineDimExpr(reduced[0], op.getContext()))
        count = size(edge::shapeOf(input->get())[i]);
  if (count < 0 || count > kMaxReduction)
    return {};
  frame.accumulator = element(op.getDpsInits()[result], indices);
  for (int64_t i = 0; i < count && frame.accumulator; ++i) {
    frame.values.clear();
    frame.loops[reduced[0]] = i;
    frame.accumulator = scalar(yielded, &frame);
  }
  return frame.accumulator;
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

TypedAttr PointEvaluator::scalar(Value value, Frame *frame) {
  if (!frame)
    return scalarUncached(value, frame);
  if (auto it = frame->values.find(value); it != frame->values.end())
    return it->second;
  TypedAttr result = scalarUncached(value, frame);
  return frame->values[value] = result;
}

TypedAttr PointEvaluator::scalarUncached(Value value, Frame *frame) {
  if (++steps > kMaxSteps)
    return {};
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (!frame || argument.getOwner() != frame->generic.getBody())
      return {};
    OpOperand *operand = frame->generic.getMatchingOpOperand(argument);
    if (frame->generic.isDpsInit(operand))
      return frame->accumulator;
    SmallVector<int64_t> indices;
    for (AffineExpr expr : frame->generic.getMatchingIndexingMap(operand).getResults()) {
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        indices.push_back(frame->loops[dim.getPosition()]);
      else if (auto constant = dyn_cast<AffineConstantExpr>(expr))
        indices.push_back(constant.getValue());
      else
        return {};
    }
    return element(operand->get(), indices);
  }
  Operation *op = value.getDefiningOp();
  Builder builder(op->getContext());
  auto index = [&](Value operand) -> std::optional<int64_t> {
    auto attr = dyn_cast_or_null<IntegerAttr>(scalar(operand, frame));
    return attr ? std::optional(attr.getValue().getSExtValue()) : std::nullopt;
  };
  if (auto dim = dyn_cast<edge::DimOp>(op))
    return builder.getIndexAttr(dim.getSymbol() < symbols.size() ? symbols[dim.getSymbol()] : 0);
  if (auto loop = dyn_cast<linalg::IndexOp>(op))
    return frame ? builder.getIndexAttr(frame->loops[loop.getDim()]) : TypedAttr();
  if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
    SmallVector<int64_t> indices;
    for (Value operand : extract.getIndices()) {
      auto at = index(operand);
      if (!at)
        return {};
      indices.push_back(*at);
    }
    return element(extract.getTensor(), indices);
  }
  // Only the chosen side: the other may lie outside of its tensor.
  if (auto select = dyn_cast<arith::SelectOp>(op)) {
    auto condition = index(select.getCondition());
    if (!condition)
      return {};
    return scalar(*condition ? select.getTrueValue() : select.getFalseValue(), frame);
  }
  // `false and unknown` is known.
  if (isa<arith::AndIOp, arith::OrIOp>(op) && value.getType().isInteger(1)) {
    bool decides = isa<arith::OrIOp>(op);
    for (Value operand : op->getOperands())
      if (auto bit = index(operand); bit && bool(*bit) == decides)
        return builder.getIntegerAttr(value.getType(), decides);
  }
  if (op->getNumRegions() || op->getNumResults() != 1)
    return {};
  SmallVector<Attribute> operands;
  for (Value operand : op->getOperands()) {
    operands.push_back(scalar(operand, frame));
    if (!operands.back())
      return {};
  }
  SmallVector<OpFoldResult> results;
  if (failed(op->fold(operands, results)) || results.size() != 1)
    return {};
  if (auto attribute = dyn_cast<Attribute>(results[0]))
    return dyn_cast<TypedAttr>(attribute);
  auto forwarded = llvm::find(op->getOperands(), cast<Value>(results[0]));
  return forwarded == op->operand_end() ? TypedAttr() : cast<TypedAttr>(operands[forwarded - op->operand_begin()]);
}

//===----------------------------------------------------------------------===//
// Kinds of masks
//===----------------------------------------------------------------------===//

namespace {

// What no score outweighs: exporters write -1e4, the lowest number of the type, or -inf.
constexpr double kHidden = -9000;

/// A mask under one choice of sizes.
class MaskAt {
public:
  MaskAt(Value mask, AffineExpr queries, AffineExpr keys, ArrayRef<int64_t> symbols)
      : mask(mask), evaluator(symbols), selects(cast<RankedTensorType>(mask.getType()).getElementType().isInteger(1)) {
    shape = edge::shapeOf(mask);
    this->queries = evaluator.size(queries);
    this->keys = evaluator.size(keys);
    chooseMatrices();
  }

  enum class Sight { Unknown, Undefined, Seen, Hidden };

  /// Whether query i sees key j in all matrices, or in none; Unknown if they differ. Undefined: no valid call of the graph has
  /// this point.
  Sight sees(int64_t i, int64_t j) {
    Sight all = Sight::Undefined;
    for (ArrayRef<int64_t> matrix : matrices) {
      Sight one = sees(i, j, matrix);
      if (one == Sight::Unknown || (one != Sight::Undefined && all != Sight::Undefined && one != all))
        return Sight::Unknown;
      if (one != Sight::Undefined)
        all = one;
    }
    return all;
  }

  Value mask;
  PointEvaluator evaluator;
  edge::SymbolicShape shape;
  int64_t queries, keys;
  bool selects;

private:
  /// Indices of batch and heads that are looked at: all of a size that is a number, as heads are. Of others, which small choices
  /// of the sizes cover, the ends and the middle.
  void chooseMatrices() {
    matrices.emplace_back();
    for (AffineExpr size : ArrayRef(shape).drop_back(std::min<size_t>(2, shape.size()))) {
      int64_t extent = evaluator.size(size);
      SmallVector<int64_t> wanted;
      for (int64_t at = 0; at < extent; ++at)
        if (isa<AffineConstantExpr>(size) || extent <= 8 || at == 0 || at == extent / 2 || at == extent - 1)
          wanted.push_back(at);
      SmallVector<SmallVector<int64_t, 4>> longer;
      for (ArrayRef<int64_t> before : matrices)
        for (int64_t at : wanted) {
          longer.emplace_back(before);
          longer.back().push_back(at);
        }
      matrices = std::move(longer);
    }
  }

  Sight sees(int64_t i, int64_t j, ArrayRef<int64_t> matrix) {
    SmallVector<int64_t> indices(matrix);
    for (int64_t fromEnd = std::min<int64_t>(2, shape.size()); fromEnd > 0; --fromEnd)
      indices.push_back(evaluator.size(shape[shape.size() - fromEnd]) == 1 ? 0 : fromEnd == 1 ? j : i);
    auto number = evaluator.number(mask, indices);
    if (!number)
      return Sight::Unknown;
    if (std::isnan(*number))
      return Sight::Undefined;
    if (selects)
      return *number != 0 ? Sight::Seen : Sight::Hidden;
    if (*number == 0)
      return Sight::Seen;
    return *number <= kHidden ? Sight::Hidden : Sight::Unknown;
  }

  SmallVector<SmallVector<int64_t, 4>> matrices;
};

/// Value choices for the symbols: small ones, each size both larger and smaller than each other one, and the largest.
SmallVector<SmallVector<int64_t>> sizesToTry(ArrayRef<edge::SymbolAttr> symbols) {
  SmallVector<SmallVector<int64_t>> choices;
  auto add = [&](int64_t past, llvm::function_ref<int64_t(int64_t)> freeSize) {
    SmallVector<int64_t> values;
    for (auto [i, symbol] : llvm::enumerate(symbols)) {
      int64_t wanted = symbol.getRole() == edge::SymbolRole::Capacity   ? symbol.getMax()
                       : symbol.getRole() == edge::SymbolRole::Position ? past
                                                                        : freeSize(i);
      values.push_back(std::clamp(wanted, symbol.getMin(), symbol.getMax()));
    }
    if (!llvm::is_contained(choices, values))
      choices.push_back(values);
  };
  for (int64_t past = 0; past < 4; ++past)
    for (int64_t tokens = 1; tokens <= 5; ++tokens)
      add(past, [&](int64_t i) { return tokens + i % 2 * past; });
  int64_t count = symbols.size();
  for (int64_t past : {0, 2}) {
    add(past, [&](int64_t i) { return 1 + i; });
    add(past, [&](int64_t i) { return count - i; });
  }
  SmallVector<int64_t> largest;
  for (edge::SymbolAttr symbol : symbols)
    largest.push_back(symbol.getMax());
  choices.push_back(largest);
  return choices;
}

std::optional<unsigned> symbolOf(edge::SymbolRole role, ArrayRef<edge::SymbolAttr> symbols) {
  auto it = llvm::find_if(symbols, [&](edge::SymbolAttr symbol) { return symbol.getRole() == role; });
  return it == symbols.end() ? std::nullopt : std::optional<unsigned>(it - symbols.begin());
}

/// Makes a choice one that a session can have, no more positions than its context; false if there is none.
bool fitInContext(SmallVector<int64_t> &choice, AffineExpr queries, AffineExpr keys, ArrayRef<edge::SymbolAttr> symbols) {
  auto position = symbolOf(edge::SymbolRole::Position, symbols), capacity = symbolOf(edge::SymbolRole::Capacity, symbols);
  if (!position || !capacity)
    return true;
  auto excess = [&] {
    PointEvaluator evaluator(choice);
    return std::max(evaluator.size(keys), choice[*position] + evaluator.size(queries)) - choice[*capacity];
  };
  choice[*position] -= std::max<int64_t>(excess(), 0);
  return choice[*position] >= symbols[*position].getMin() && excess() <= 0;
}

/// Whether each query sees a key. One that sees none has a result that depends on what the mask hides with: the mean of all
/// values, or nothing; a kind does not say which.
bool showsEachQueryAKey(const MaskAt &mask, const MaskKind &kind, int64_t offset) {
  // The first query has the fewest keys before it, and the last the fewest that are still in its window.
  for (int64_t position : {offset, offset + mask.queries - 1})
    if (kind.causal && mask.queries > 0 && (position < 0 || (kind.window && position - kind.window + 1 >= mask.keys)))
      return false;
  return true;
}

/// Whether the mask shows what `kind` says, at all points if there are few, else where they matter.
bool agrees(MaskAt &mask, const MaskKind &kind) {
  int64_t offset = kind.offset ? mask.evaluator.size(kind.offset) : 0;
  if (!showsEachQueryAKey(mask, kind, offset))
    return false;
  auto agreesAt = [&](int64_t i, int64_t j) {
    if (i < 0 || j < 0 || i >= mask.queries || j >= mask.keys)
      return true;
    int64_t distance = offset + i - j;
    bool wanted = !kind.causal || (distance >= 0 && (kind.window == 0 || distance < kind.window));
    MaskAt::Sight sight = mask.sees(i, j);
    return sight == MaskAt::Sight::Undefined || sight == (wanted ? MaskAt::Sight::Seen : MaskAt::Sight::Hidden);
  };
  if (mask.queries * mask.keys <= kFewPoints) {
    for (int64_t i = 0; i < mask.queries; ++i)
      for (int64_t j = 0; j < mask.keys; ++j)
        if (!agreesAt(i, j))
          return false;
    return true;
  }
  for (int64_t i : {int64_t(0), int64_t(1), mask.queries / 3, mask.queries / 2, mask.queries - 2, mask.queries - 1}) {
    int64_t self = offset + i;
    for (int64_t j : {int64_t(0), int64_t(1), self / 2, self - 1, self, self + 1, self + 2, mask.keys - 1, self - kind.window - 1,
                      self - kind.window, self - kind.window + 1, self - kind.window + 2})
      if (!agreesAt(i, j))
        return false;
  }
  return true;
}

/// The width of the window that the last query has at the largest sizes, 0 if it sees everything before it.
std::optional<int64_t> windowOf(MaskAt &mask, int64_t position) {
  using Sight = MaskAt::Sight;
  Sight first = mask.sees(mask.queries - 1, 0), self = mask.sees(mask.queries - 1, std::min(position, mask.keys - 1));
  if (first == Sight::Seen || first == Sight::Undefined)
    return 0;
  if (first == Sight::Unknown || self != Sight::Seen)
    return std::nullopt;
  // Hidden at `low`, seen at `high`.
  int64_t low = 0, high = position;
  while (high - low > 1) {
    int64_t middle = (low + high) / 2;
    Sight seen = mask.sees(mask.queries - 1, middle);
    if (seen != Sight::Seen && seen != Sight::Hidden)
      return std::nullopt;
    (seen == Sight::Seen ? high : low) = middle;
  }
  return position - low;
}

} // namespace

std::optional<MaskKind> recogniseMask(Value mask, AffineExpr queries, AffineExpr keys, ArrayRef<edge::SymbolAttr> symbols) {
  auto sizes = sizesToTry(symbols);
  SmallVector<std::unique_ptr<MaskAt>> masks;
  for (auto &choice : sizes)
    if (fitInContext(choice, queries, keys, symbols))
      masks.push_back(std::make_unique<MaskAt>(mask, queries, keys, choice));
  if (masks.empty())
    return std::nullopt;
  // The first point tells cheaply whether there is anything to evaluate.
  if (masks.front()->sees(0, 0) == MaskAt::Sight::Unknown)
    return std::nullopt;
  auto holds = [&](const MaskKind &kind) { return llvm::all_of(masks, [&](auto &at) { return agrees(*at, kind); }); };
  if (MaskKind all; holds(all))
    return all;
  // Queries are the last of the keys, or the first; or the keys are a whole cache, and queries stand behind what it held.
  SmallVector<AffineExpr> offsets{edge::canonical(keys - queries), getAffineConstantExpr(0, mask.getContext())};
  if (auto position = symbolOf(edge::SymbolRole::Position, symbols))
    offsets.push_back(getAffineSymbolExpr(*position, mask.getContext()));
  for (AffineExpr offset : offsets) {
    MaskAt &largest = *masks.back();
    auto window = windowOf(largest, largest.evaluator.size(offset) + largest.queries - 1);
    if (!window)
      continue;
    MaskKind kind{true, *window, offset};
    if (holds(kind))
      return kind;
  }
  return std::nullopt;
}

std::optional<double> constantNumber(Value tensor, ArrayRef<edge::SymbolAttr> symbols) {
  SmallVector<int64_t> lowest, highest, indices(cast<RankedTensorType>(tensor.getType()).getRank(), 0);
  for (edge::SymbolAttr symbol : symbols) {
    lowest.push_back(symbol.getMin());
    highest.push_back(symbol.getMax());
  }
  for (AffineExpr extent : edge::shapeOf(tensor))
    if (extent != getAffineConstantExpr(1, tensor.getContext()))
      return std::nullopt;
  auto a = PointEvaluator(lowest).number(tensor, indices), b = PointEvaluator(highest).number(tensor, indices);
  return a == b ? a : std::nullopt;
}

} // namespace edgecc

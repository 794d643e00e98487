//===- EdgeDialect.cpp - Registration and verifiers -------------------------===//
#include "dialects/edge/EdgeDialect.h"
#include "dialects/edge/Cache.h"
#include "dialects/edge/Quantization.h"
#include "dialects/edge/Shape.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialects/edge/EdgeDialect.cpp.inc"
#include "dialects/edge/EdgeEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/edge/EdgeAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/edge/EdgeOps.cpp.inc"

using namespace mlir;
namespace edgecc::edge {

void EdgeDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/edge/EdgeAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/edge/EdgeOps.cpp.inc"
      >();
}

LogicalResult ReshapeOp::verify() {
  // reshape_c1
  if (getInput().getType().getElementType() != getResult().getType().getElementType())
    return emitOpError("turns ") << getInput().getType().getElementType() << " into " << getResult().getType().getElementType();
  // reshape_c2
  auto count = [&](Value value) { return product(shapeOf(value), getContext()); };
  AffineExpr before = count(getInput()), after = count(getResult());
  if (before != after && !mayBeEqual(before, after, symbolsOf(*this))) {
    std::string sizes;
    llvm::raw_string_ostream(sizes) << before << " elements into " << after;
    return emitOpError("turns ") << sizes;
  }
  return success();
}

OpFoldResult ReshapeOp::fold(FoldAdaptor) {
  if (getInput().getType() == getResult().getType())
    return getInput();
  if (auto inner = getInput().getDefiningOp<ReshapeOp>()) {
    getInputMutable().assign(inner.getInput());
    return getResult();
  }
  return {};
}

/// The columns of a quantized weight that are not.
static LogicalResult verifyOutliers(Operation *op, WeightLayout layout, int64_t n, int64_t k, Value indices, Value weights) {
  if (!indices && !weights)
    return success();
  SmallVector<int64_t> wanted{n, 0};
  if (layout == WeightLayout::Panels)
    wanted = {int64_t(llvm::divideCeil(n, kPanelWidth)), 0, kPanelWidth};
  if (indices && weights) {
    auto type = cast<RankedTensorType>(indices.getType()), weight = cast<RankedTensorType>(weights.getType());
    if (type.getRank() == 1 && type.hasStaticShape() && type.getElementType().isInteger(32)) {
      int64_t count = wanted[1] = type.getDimSize(0);
      if (count >= 1 && count <= k && weight.getShape() == ArrayRef<int64_t>(wanted) && weight.getElementType().isF16())
        return success();
    }
  }
  InFlightDiagnostic error = op->emitOpError("with ") << k << " input and " << n << " output channels has outliers of type ";
  (indices ? error << indices.getType() : error << "none") << " with weights of type ";
  (weights ? error << weights.getType() : error << "none");
  return error << "; wanted are indices [count] of type i32, at most one per input channel, and weights "
               << (layout == WeightLayout::Panels ? "[panels, count, 16]" : "[output channels, count]") << " of type f16";
}

/// The weight of a linear or the table of an embedding, n channels of k numbers.
static LogicalResult verifyQuantized(Operation *op, QuantizationAttr quantization, WeightLayout layout, int64_t n, int64_t k,
                                     RankedTensorType weight, Value scales, Value zeros) {
  int64_t bits = quantization.getBits(), group = quantization.getGroup();
  if ((bits != 4 && bits != 8) || group < 0 || group % 16 != 0 ||
      !(quantization.getScale().isF16() || quantization.getScale().isF32()))
    return op->emitOpError("has the quantization ")
           << quantization
           << "; 4 and 8 bits, groups of a multiple of 16 (0: one per channel) and f16 or f32 scales are supported";
  if (layout == WeightLayout::KN || !weight.getElementType().isInteger(8))
    return op->emitOpError("has a quantized weight of type ")
           << weight << " in layout " << stringifyWeightLayout(layout) << "; it must be i8 in layout nk or panels";
  if (layout == WeightLayout::Panels) {
    if (scales || zeros)
      return op->emitOpError("has scales or zeros beside panels, which hold them");
    if (weight.getRank() != 2 || weight.getDimSize(0) != int64_t(llvm::divideCeil(n, kPanelWidth)))
      return op->emitOpError("with ") << n << " output channels has quantized panels of type " << weight;
    return success();
  }
  int64_t groups = groupsOf(quantization, k);
  if (weight.getShape() != ArrayRef<int64_t>{n, groups, groupBytes(quantization, k)})
    return op->emitOpError("with ") << k << " input and " << n << " output channels and the quantization " << quantization
                                    << " has a weight of type " << weight;
  auto fits = [&](Value value) { return cast<RankedTensorType>(value.getType()).getShape() == ArrayRef<int64_t>{n, groups}; };
  auto element = [](Value value) { return cast<RankedTensorType>(value.getType()).getElementType(); };
  if (!scales || !fits(scales) || element(scales) != quantization.getScale())
    return op->emitOpError("wants scales [") << n << ", " << groups << "] of type " << quantization.getScale();
  if (bool(zeros) != quantization.getZeros())
    return op->emitOpError(zeros ? "has zeros, but its quantization has none" : "has no zeros, but its quantization has");
  if (zeros && (!fits(zeros) || !(element(zeros).isInteger(8) || element(zeros) == quantization.getScale())))
    return op->emitOpError("wants zeros [") << n << ", " << groups << "] of type i8 or " << quantization.getScale();
  return success();
}

LogicalResult LinearOp::verify() {
  auto weight = getWeight().getType();
  int64_t k = inputChannels(), n = outputChannels();
  SmallVector<int64_t> wanted;
  switch (getLayout()) {
  case WeightLayout::NK: wanted = {n, k}; break;
  case WeightLayout::KN: wanted = {k, n}; break;
  case WeightLayout::Panels: wanted = {(n + kPanelWidth - 1) / kPanelWidth, k, kPanelWidth}; break;
  }
  if (auto quantization = getQuantization()) {
    // linear_c1, linear_c4, linear_c5, linear_c6
    if (failed(verifyQuantized(*this, *quantization, getLayout(), n, k, weight, getScales(), getZeros())) ||
        failed(verifyOutliers(*this, getLayout(), n, k, getOutliers(), getOutlierWeights())))
      return failure();
  } else if (getScales() || getZeros() || getOutliers() || getOutlierWeights()) {
    // linear_c5, linear_c6
    return emitOpError("has scales, zeros or outliers but no quantization");
  } else if (weight.getShape() != ArrayRef<int64_t>(wanted)) // linear_c1
    return emitOpError("with ") << k << " input and " << n << " output channels and layout " << stringifyWeightLayout(getLayout())
                                << " has a weight of type " << weight;
  // linear_c2
  for (auto extra : getExtras()) {
    auto type = cast<RankedTensorType>(extra.getType());
    bool perChannel = type.getRank() == 1 && type.getDimSize(0) == n;
    bool perElement =
        type.getShape() == getResult().getType().getShape() && type.getEncoding() == getResult().getType().getEncoding();
    if (!perChannel && !perElement)
      return emitOpError("has an extra of type ") << type << ", which is neither [" << n << "] nor the result's shape";
  }
  if (getEpilogue().empty()) {
    if (!getExtras().empty())
      return emitOpError("has extras but no epilogue");
    return success();
  }
  // linear_c3
  Block &block = getEpilogue().front();
  bool fits = block.getNumArguments() == getExtras().size() + 1 && block.getArgument(0).getType().isF32();
  for (auto [arg, extra] : llvm::zip(block.getArguments().drop_front(), getExtras()))
    fits = fits && arg.getType() == cast<RankedTensorType>(extra.getType()).getElementType();
  if (!fits)
    return emitOpError("has an epilogue that does not take f32 and an element of each extra");
  return success();
}

LogicalResult EmbeddingOp::verify() {
  // embedding_c1
  auto quantization = getQuantization();
  if (!quantization)
    return getScales() || getZeros() || getOutliers() || getOutlierWeights()
               ? emitOpError("has scales, zeros or outliers but no quantization")
               : success();
  auto table = getTable().getType();
  auto rows = (*this)->getAttrOfType<IntegerAttr>("rows");
  int64_t n = rows ? rows.getInt() : table.getDimSize(0) * (getLayout() == WeightLayout::Panels ? kPanelWidth : 1);
  int64_t k = getResult().getType().getShape().back();
  if (failed(verifyQuantized(*this, *quantization, getLayout(), n, k, table, getScales(), getZeros())))
    return failure();
  return verifyOutliers(*this, getLayout(), n, k, getOutliers(), getOutlierWeights());
}

/// Numbers and parts of a quantized cache, `heads` of `dim` numbers; without one there are no parts.
static LogicalResult verifyCache(Operation *op, std::optional<CacheAttr> cache, RankedTensorType numbers, TypeRange parts,
                                 int64_t dim) {
  if (!cache)
    return parts.empty() ? success() : LogicalResult(op->emitOpError("has parts of a cache but no cache attribute"));
  CacheLayout layout(*cache);
  bool fits = (layout.bits == 8 && !layout.byChannel) || (layout.bits == 4 && layout.dim % 8 == 0);
  if (!fits || layout.dim != dim || dim <= 0)
    return op->emitOpError("has the cache ")
           << *cache << " for heads of " << dim
           << "; 8 bits by token, and 4 bits by token or channel of a multiple of 8 are supported";
  SmallVector<RankedTensorType> wanted;
  if (numbers.getRank() == 4)
    wanted = layout.statesBeside(numbers);
  SmallVector<Type> given{numbers};
  llvm::append_range(given, parts);
  if (!llvm::equal(given, wanted))
    return op->emitOpError("has a cache of the states ") << given << ", but " << *cache << " wants " << wanted;
  return success();
}

LogicalResult AttentionOp::verify() {
  // attention_c3
  for (Value value : {Value(getQuery()), Value(getKey()), Value(getValue()), Value(getResult())})
    if (cast<RankedTensorType>(value.getType()).getRank() != 4)
      return emitOpError("query, key, value and result must have rank 4, but one is ") << value.getType();
  // attention_c1
  if (kvHeads() == 0 || heads() % kvHeads() != 0)
    return emitOpError("has ") << heads() << " heads, which is no multiple of its " << kvHeads() << " KV heads";
  // attention_c2
  if (!getKeyCache() && headDim() != getKey().getType().getDimSize(3))
    return emitOpError("has a query head_dim of ") << headDim() << " but a key head_dim of " << getKey().getType().getDimSize(3);
  // attention_c4
  if ((getKeyCache() || getValueCache()) && !getKeyHeadsFirst())
    return emitOpError("has a quantized cache, but its keys do not stand heads first");
  if (failed(verifyCache(*this, getKeyCache(), getKey().getType(), getKeyParts().getTypes(), headDim())))
    return failure();
  return verifyCache(*this, getValueCache(), getValue().getType(), getValueParts().getTypes(), valueDim());
}

LogicalResult AppendOp::verify() {
  auto state = getState().getType(), rows = getRows().getType();
  // append_c1
  int64_t heads = rows.getRank() == 4 ? rows.getDimSize(getRowsHeadsFirst() ? 1 : 2) : 0, dim = rows.getShape().back();
  if (rows.getRank() != 4 || state.getRank() != 4 ||
      (!rows.isDynamicDim(0) && !state.isDynamicDim(0) && rows.getDimSize(0) > state.getDimSize(0)) ||
      heads != state.getDimSize(1) || (!getCache() && dim != state.getDimSize(3)))
    return emitOpError("writes rows ") << rows << " into a state " << state;
  // append_c2
  if (getResult().getType() != state || getNewParts().getTypes() != getParts().getTypes())
    return emitOpError("has results of other types than its states");
  return verifyCache(*this, getCache(), state, getParts().getTypes(), dim);
}

LogicalResult RopeOp::verify() {
  // rope_c1
  int64_t half = getCos().getType().getShape().back(), dim = getInput().getType().getShape().back();
  if (2 * half > dim)
    return emitOpError("rotates ") << 2 * half << " elements of a head_dim of " << dim;
  return success();
}

LogicalResult ConfidenceOp::verify() {
  // confidence_c1
  if (bool(getBefore()) != (getKind() == ExitConfidence::State))
    return emitOpError("of the kind ") << stringifyExitConfidence(getKind())
                                       << (getBefore() ? " compares with nothing, but is given what was before"
                                                       : " needs the state before the layer");
  if (getBefore() && getBefore().getType() != getInput().getType())
    return emitOpError("compares ") << getInput().getType() << " with " << getBefore().getType();
  return success();
}

LogicalResult ExitOp::verify() {
  // exit_c1
  auto confidence = getConfidence().getType();
  if (confidence.getShape() != ArrayRef<int64_t>{1} || !confidence.getElementType().isF32())
    return emitOpError("has a confidence of type ") << confidence << "; it must be tensor<1xf32>";
  // exit_c2
  auto function = dyn_cast<FunctionOpInterface>((*this)->getParentOp());
  if (!function)
    return emitOpError("must stand in a function");
  SmallVector<Type> results;
  for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
    if (!function.getResultAttr(i, EdgeDialect::kStateAttr))
      results.push_back(type);
  if (getOutputs().getTypes() != TypeRange(results))
    return emitOpError("gives ") << getOutputs().getTypes() << ", but the function's outputs are " << results;
  return success();
}

LogicalResult KernelOp::verify() {
  Block &block = getBody().front();
  SmallVector<Type> buffers;
  llvm::append_range(buffers, getIns().getTypes());
  llvm::append_range(buffers, getOutputs().getTypes());
  // kernel_c1
  if (block.getNumArguments() != buffers.size() + 1 || !block.getArgument(0).getType().isIndex())
    return emitOpError("takes ") << buffers.size() << " buffers but its body has " << block.getNumArguments() << " arguments";
  for (auto [arg, type] : llvm::zip(block.getArguments().drop_front(), buffers))
    if (arg.getType() != bufferType(cast<RankedTensorType>(type)))
      return emitOpError("passes ") << type << " to a block argument of type " << arg.getType();
  return success();
}

} // namespace edgecc::edge

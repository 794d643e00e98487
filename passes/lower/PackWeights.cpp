//===- PackWeights.cpp - Linear weights into panels -------------------------===//
//
// Why a pass of its own, early and per module: packed weights are the same for all variants and entries, and they are large. They
// are packed chunk by chunk in parallel, and the pages of a chunk are given back when it is done.
//
//===----------------------------------------------------------------------===//
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Threading.h"
#include "passes/Passes.h"
#include "passes/kernels/Machine.h"
#include "passes/lower/Panels.h"
#include "passes/lower/WeightMemory.h"
#include "llvm/ADT/DenseMap.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_PACKWEIGHTS
#include "passes/Passes.h.inc"

namespace {

constexpr int64_t kPanel = edge::kPanelWidth;
/// Packed bytes of a unit of parallel work.
constexpr int64_t kChunkBytes = 4 << 20;

struct PackWeights : impl::PackWeightsBase<PackWeights> {
  void runOnOperation() override {
    SmallVector<edge::LinearOp> linears;
    SmallVector<edge::EmbeddingOp> embeddings;
    getOperation().walk([&](Operation *op) {
      if (auto linear = dyn_cast<edge::LinearOp>(op))
        linears.push_back(linear);
      else if (auto embedding = dyn_cast<edge::EmbeddingOp>(op))
        embeddings.push_back(embedding);
    });
    order = edge::PanelOrder(Machine::of(getOperation()).arch());
    FileMappings files;
    for (edge::LinearOp linear : linears)
      if (failed(linear.getQuantization() ? packQuantized(linear, linear.outputChannels(), linear.inputChannels(), files)
                                          : packLinear(linear, files)))
        return signalPassFailure();
    // A table that is a head, too, is stored once: the lookup reads the head's panels.
    for (edge::EmbeddingOp embedding : embeddings) {
      int64_t rows = embedding.getTable().getType().getDimSize(0);
      if (!embedding.getQuantization())
        shareTable(embedding);
      else if (failed(packQuantized(embedding, rows, embedding.getResult().getType().getShape().back(), files)))
        return signalPassFailure();
    }
    eraseUnreadWeights(getOperation());
    getOperation().walk([](func::FuncOp function) { hoistWeights(function); });
  }

private:
  /// Moves weights before everything else. Their offsets follow their order (edge-plan-memory) and are in the code of every CPU
  /// variant, so what a variant makes of the layers must not change it.
  static void hoistWeights(func::FuncOp function) {
    Operation *next = &function.front().front();
    for (edge::WeightOp weight : llvm::to_vector(function.getOps<edge::WeightOp>()))
      if (weight == next)
        next = next->getNextNode();
      else
        weight->moveBefore(next);
  }

  /// What a packed weight is known by: the same tensor may be read as [n, k] here and as [k, n] there.
  using Key = std::tuple<Attribute, int64_t, int64_t, bool>;

  LogicalResult packLinear(edge::LinearOp op, const FileMappings &files) {
    edge::WeightOp weight = weightBehind(op.getWeight());
    Type element = op.getWeight().getType().getElementType();
    if (!weight || op.getLayout() == edge::WeightLayout::Panels || !(element.isF32() || element.isF16() || element.isBF16()))
      return success();
    ArrayRef<char> data = rawBytes(weight.getValue());
    FloatSource source{data.data(), op.outputChannels(), op.inputChannels(), edge::elementBytes(element),
                       op.getLayout() == edge::WeightLayout::NK};
    if (int64_t(data.size()) != source.n * source.k * source.elementBytes)
      return success(); // A splat or a missing resource: the unpacked form reads it as it is.

    auto packed = packFloats(op, weight, source, files);
    if (failed(packed))
      return failure();
    op.getWeightMutable().assign(weightWith(*packed, weight, op));
    op.setLayout(edge::WeightLayout::Panels);
    return success();
  }

  FailureOr<ElementsAttr> packFloats(Operation *op, edge::WeightOp weight, const FloatSource &source, const FileMappings &files) {
    ElementsAttr &packed = known[Key{weight.getValue(), source.n, source.k, source.rowsOfK}];
    if (packed)
      return packed;
    Type element = cast<RankedTensorType>(weight.getValue().getType()).getElementType();
    auto type = RankedTensorType::get({int64_t(llvm::divideCeil(source.n, kPanel)), source.k, kPanel}, element);
    int64_t row = source.k * source.elementBytes;
    auto result = pack(type, weight.getName(), [&](char *to, int64_t first, int64_t last) {
      packPanels(source, to, first, last);
      // Rows are done with; columns are interleaved with those of the other chunks until all are done.
      if (source.rowsOfK)
        files.release(source.data + first * kPanel * row, (std::min(last * kPanel, source.n) - first * kPanel) * row);
    });
    if (!result)
      return op->emitError() << "weight '" << weight.getName() << "': " << llvm::toString(result.takeError());
    files.release(source.data, source.n * row);
    return packed = *result;
  }

  /// A linear or an embedding with a quantized weight of n channels of k numbers.
  template <typename Op> LogicalResult packQuantized(Op op, int64_t n, int64_t k, const FileMappings &files) {
    if (op.getLayout() == edge::WeightLayout::Panels)
      return success();
    edge::QuantizationAttr quantization = *op.getQuantization();
    OpOperand &number = weightOperand(op);
    SmallVector<ArrayRef<char>> data;
    SmallVector<std::string> filled(3);
    SmallVector<Attribute> parts;
    edge::WeightOp weight = weightBehind(number.get());
    for (Value operand : {number.get(), Value(op.getScales()), Value(op.getZeros())}) {
      edge::WeightOp part = operand ? weightBehind(operand) : edge::WeightOp();
      if (operand && !part)
        return op.emitOpError("has quantized weights that are computed; quantized numbers, scales and zeros must be constants");
      parts.push_back(part ? Attribute(part.getValue()) : Attribute());
      data.push_back(part ? rawBytes(part.getValue()) : ArrayRef<char>());
      if (auto dense = part ? dyn_cast<DenseElementsAttr>(part.getValue()) : DenseElementsAttr(); dense && data.back().empty()) {
        std::string &all = filled[parts.size() - 1];
        for (int64_t i = 0; i < dense.getNumElements(); ++i)
          all.append(dense.getRawData().data(), dense.getRawData().size());
        data.back() = ArrayRef(all.data(), all.size());
      }
    }
    int64_t groups = n * edge::groupsOf(quantization, k), scaleBytes = quantization.getScale().getIntOrFloatBitWidth() / 8;
    bool byteZeros = op.getZeros() && cast<RankedTensorType>(op.getZeros().getType()).getElementType().isInteger(8);
    if (int64_t(data[0].size()) != groups * edge::groupBytes(quantization, k) || int64_t(data[1].size()) != groups * scaleBytes ||
        (op.getZeros() && int64_t(data[2].size()) != groups * (byteZeros ? 1 : scaleBytes)))
      return op.emitOpError("weight '") << weight.getName() << "': its numbers, scales or zeros are not there";

    ElementsAttr &packed = quantized[ArrayAttr::get(
        &getContext(), {parts[0], parts[1], parts[2] ? parts[2] : parts[0], quantizationOfWeight(quantization)})];
    if (!packed) {
      QuantizedSource source{
          quantization, data[0].data(), data[1].data(), op.getZeros() ? data[2].data() : nullptr, byteZeros, n, k};
      edge::QuantizedPanel panel(quantization, k, order);
      auto type = RankedTensorType::get({int64_t(llvm::divideCeil(n, kPanel)), panel.bytes}, Builder(op).getI8Type());
      auto result = pack(type, weight.getName(), [&](char *to, int64_t first, int64_t last) {
        packQuantizedPanels(source, panel, to, first, last);
        int64_t row = data[0].size() / n;
        files.release(data[0].data() + first * kPanel * row, (std::min(last * kPanel, n) - first * kPanel) * row);
      });
      if (!result)
        return op.emitError() << "weight '" << weight.getName() << "': " << llvm::toString(result.takeError());
      for (ArrayRef<char> part : data)
        files.release(part.data(), part.size());
      packed = *result;
    }
    number.set(weightWith(packed, weight, op));
    op.getScalesMutable().clear();
    op.getZerosMutable().clear();
    if (op.getOutliers() && failed(packOutliers(op, n, k, files)))
      return failure();
    op.setLayout(edge::WeightLayout::Panels);
    // The panels are filled up; a negative id counts from the true end.
    if (isa<edge::EmbeddingOp>(op.getOperation()))
      op->setAttr("rows", Builder(op).getI64IntegerAttr(n));
    return success();
  }

  /// The floating columns of a quantized weight. Kernels believe in the indices: here is where they are seen for the last time.
  template <typename Op> LogicalResult packOutliers(Op op, int64_t n, int64_t k, const FileMappings &files) {
    edge::WeightOp indices = weightBehind(op.getOutliers()), weight = weightBehind(op.getOutlierWeights());
    if (!indices || !weight)
      return op.emitOpError("has outliers that are computed; their indices and weights must be constants");
    int64_t count = cast<RankedTensorType>(op.getOutliers().getType()).getDimSize(0);
    ArrayRef<char> raw = rawBytes(indices.getValue()), data = rawBytes(weight.getValue());
    if (int64_t(raw.size()) != count * 4 || int64_t(data.size()) != n * count * 2)
      return op.emitOpError("weight '") << weight.getName() << "': the indices or weights of its outliers are not there";
    int64_t last = -1;
    for (int64_t i = 0; i < count; ++i) {
      int32_t index;
      std::memcpy(&index, raw.data() + i * 4, 4);
      if (index <= last || index >= k)
        return op.emitOpError("weight '") << weight.getName() << "': outlier " << i << " is input channel " << index
                                          << "; the indices must ascend and be less than " << k;
      last = index;
    }
    auto packed = packFloats(op, weight, {data.data(), n, count, 2, /*rowsOfK=*/true}, files);
    if (failed(packed))
      return failure();
    op.getOutlierWeightsMutable().assign(weightWith(*packed, weight, op));
    // Layers that read one input with the same outliers share its quantized form.
    Value &shared = values[{indices.getValue(), op->template getParentOfType<func::FuncOp>()}];
    if (!shared)
      shared = op.getOutliers();
    op.getOutliersMutable().assign(shared);
    return success();
  }

  static OpOperand &weightOperand(edge::LinearOp op) { return op.getWeightMutable(); }
  static OpOperand &weightOperand(edge::EmbeddingOp op) { return op.getTableMutable(); }

  /// Activations have no part in how a weight is packed.
  static edge::QuantizationAttr quantizationOfWeight(edge::QuantizationAttr it) {
    return edge::QuantizationAttr::get(it.getContext(), it.getBits(), it.getGroup(), it.getScale(), it.getZeros(),
                                       edge::ActivationPrecision::Float);
  }

  /// Memory of `type`, panels outside, filled by `work` chunk by chunk in parallel.
  llvm::Expected<ElementsAttr> pack(RankedTensorType type, StringRef name,
                                    function_ref<void(char *to, int64_t first, int64_t last)> work) {
    int64_t bytes = type.getNumElements() * edge::elementBytes(type.getElementType()), panels = type.getDimSize(0);
    auto blob = allocateWeight(bytes);
    if (!blob)
      return blob.takeError();
    char *to = blob->getMutableData().data();
    int64_t panelBytes = bytes / panels, perChunk = std::max<int64_t>(1, kChunkBytes / panelBytes);
    parallelFor(&getContext(), 0, llvm::divideCeil(panels, perChunk), [&](size_t chunk) {
      int64_t first = chunk * perChunk, last = std::min(panels, first + perChunk);
      work(to, first, last);
      releaseWritten(to + first * panelBytes, (last - first) * panelBytes, bytes);
    });
    return ElementsAttr(DenseResourceElementsAttr::get(type, (name + ".panels").str(), std::move(*blob)));
  }

  /// The op that stands for a packed weight in the function of `user`, before all that may read it.
  Value weightWith(ElementsAttr packed, edge::WeightOp weight, Operation *user) {
    auto function = user->getParentOfType<func::FuncOp>();
    Value &value = values[{packed, function}];
    if (!value) {
      auto builder = OpBuilder::atBlockBegin(&function.front());
      value = edge::WeightOp::create(builder, weight.getLoc(), packed.getType(),
                                     builder.getStringAttr((weight.getName() + ".panels").str()), packed);
    }
    return value;
  }

  void shareTable(edge::EmbeddingOp op) {
    edge::WeightOp weight = weightBehind(op.getTable());
    auto table = op.getTable().getType();
    if (!weight || op.getLayout() != edge::WeightLayout::NK || table.getRank() != 2)
      return;
    auto found = known.find(Key{weight.getValue(), table.getDimSize(0), table.getDimSize(1), true});
    if (found == known.end())
      return;
    op.getTableMutable().assign(weightWith(found->second, weight, op));
    op.setLayout(edge::WeightLayout::Panels);
    // The panels are filled up; a negative id counts from the true end.
    op->setAttr("rows", Builder(op).getI64IntegerAttr(table.getDimSize(0)));
  }

  std::map<Key, ElementsAttr, bool (*)(const Key &, const Key &)> known{[](const Key &a, const Key &b) {
    auto plain = [](const Key &key) {
      return std::make_tuple(std::get<0>(key).getAsOpaquePointer(), std::get<1>(key), std::get<2>(key), std::get<3>(key));
    };
    return plain(a) < plain(b);
  }};
  DenseMap<Attribute, ElementsAttr> quantized; // by numbers, scales, zeros and how they are read
  DenseMap<std::pair<Attribute, Operation *>, Value> values;
  edge::PanelOrder order{""};
};

} // namespace
} // namespace edgecc

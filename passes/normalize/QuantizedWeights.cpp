//===- QuantizedWeights.cpp -------------------------------------------------===//
#include "passes/normalize/QuantizedWeights.h"
#include "dialects/edge/Quantization.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Threading.h"
#include "passes/lower/WeightMemory.h"

using namespace mlir;
namespace edgecc {
namespace {

/// Integers of 4 or 8 bits in an initializer, which may be packed, one to a byte, or one for all.
class Numbers {
public:
  explicit Numbers(const TensorInfo &known) : isSigned(!known.isUnsigned) {
    if (auto integer = dyn_cast<IntegerType>(known.element); integer && (integer.getWidth() == 4 || integer.getWidth() == 8))
      bits = integer.getWidth();
    if (auto resource = dyn_cast_or_null<DenseResourceElementsAttr>(known.constant)) {
      if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
        bytes = blob->getData();
      packed = bits == 4;
    } else if (auto dense = dyn_cast_or_null<DenseElementsAttr>(known.constant)) {
      bytes = dense.getRawData();
      step = dense.isSplat() ? 0 : 1;
    }
  }

  explicit operator bool() const { return bits != 0 && !bytes.empty(); }

  /// In [0, 2^bits): what is signed is moved up by half the range.
  uint8_t operator[](int64_t i) const {
    uint8_t value = packed ? uint8_t(bytes[i / 2]) >> (i % 2 * 4) : bytes[i * step];
    value &= (1 << bits) - 1;
    return isSigned ? value ^ 1 << (bits - 1) : value;
  }

  int64_t bits = 0;

private:
  ArrayRef<char> bytes;
  bool packed = false, isSigned;
  int64_t step = 1;
};

/// A constant of a type and name whose bytes are written by `fill(first row, end, data)`, rows in parallel.
Value makeWeight(NodeContext &node, ArrayRef<int64_t> shape, Type element, const Twine &name,
                 llvm::function_ref<void(int64_t, int64_t, char *)> fill) {
  auto type = RankedTensorType::get(shape, element);
  int64_t bytes = type.getNumElements() * edge::elementBytes(element), rows = shape[0], rowBytes = bytes / rows;
  auto blob = allocateWeight(bytes);
  if (!blob) {
    (void)node.unsupported("weight '" + name + "': " + llvm::toString(blob.takeError()));
    return {};
  }
  constexpr int64_t kRows = 64;
  char *data = blob->getMutableData().data();
  parallelFor(node.context(), 0, llvm::divideCeil(rows, kRows), [&](size_t chunk) {
    int64_t first = chunk * kRows, end = std::min(rows, first + kRows);
    fill(first, end, data);
    releaseWritten(data + first * rowBytes, (end - first) * rowBytes, bytes);
  });
  return edge::WeightOp::create(node.builder, node.loc, type, node.builder.getStringAttr(name),
                                DenseResourceElementsAttr::get(type, name.str(), std::move(*blob)));
}

/// The bytes of element i of a constant of floats.
struct Floats {
  Type type;
  ArrayRef<char> bytes;
  int64_t size = 0, step = 0;

  explicit Floats(const TensorInfo &known) : type(known.element) {
    if (!type.isF32() && !type.isF16() && !type.isBF16())
      return;
    size = edge::elementBytes(type);
    step = size;
    if (auto resource = dyn_cast_or_null<DenseResourceElementsAttr>(known.constant)) {
      if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
        bytes = blob->getData();
    } else if (auto dense = dyn_cast_or_null<DenseElementsAttr>(known.constant)) {
      bytes = dense.getRawData();
      step = dense.isSplat() ? 0 : size;
    }
  }

  explicit operator bool() const { return !bytes.empty(); }
  /// Scales are f16 or f32: bf16 is the upper half of f32.
  Type scaleType() const { return type.isBF16() ? Type(Float32Type::get(type.getContext())) : type; }
  int64_t scaleBytes() const { return type.isBF16() ? 4 : size; }
  void copy(int64_t i, char *to) const {
    if (type.isBF16())
      std::memset(to, 0, 2), to += 2;
    std::memcpy(to, bytes.data() + i * step, size);
  }
};

/// Which of the parameters of a DequantizeLinear is that of group g of channel c.
struct Spread {
  int64_t perChannel = 0, perGroup = 0;
  int64_t operator()(int64_t channel, int64_t group) const { return channel * perChannel + group * perGroup; }
};

} // namespace

/// Returns copies of the constants of `weight` at the place of `user`.
static WeightRef again(NodeContext &user, WeightRef weight) {
  for (Value *part : {&weight.value, &weight.scales, &weight.zeros})
    if (*part)
      *part = user.builder.clone(*part->getDefiningOp())->getResult(0);
  return weight;
}

std::optional<WeightRef> dequantizedWeight(NodeContext &user, onnx::NodeOp dequantize, bool transposed) {
  std::optional<WeightRef> &known = user.converter.dequantized[{dequantize.getOperation(), transposed}];
  if (known)
    return again(user, *known);
  NodeContext node(user.converter, dequantize);
  if (node.op() != "DequantizeLinear" || node.rank(0) != 2)
    return std::nullopt;
  const Numbers numbers(node.info(0));
  const Floats scales(node.info(1));
  auto rows = dyn_cast<AffineConstantExpr>(node.shape(0)[0]), columns = dyn_cast<AffineConstantExpr>(node.shape(0)[1]);
  if (!numbers || !scales || !rows || !columns || (node.has(2) && !Numbers(node.info(2))))
    return std::nullopt;
  const int64_t inputAxis = transposed ? 1 : 0;
  const int64_t n = (transposed ? rows : columns).getValue(), k = (transposed ? columns : rows).getValue();
  const int64_t axis = node.normalizeAxis(node.intAttr("axis", 1), 2), block = node.intAttr("block_size", 0);
  edge::SymbolicShape given = node.shape(1);
  Spread spread;
  int64_t group = 0, groups = 1;
  if (block > 0) {
    if (axis != inputAxis || block % 16 != 0 || given.size() != 2)
      return std::nullopt;
    groups = llvm::divideCeil(k, block);
    group = groups > 1 ? block : 0;
    // [groups, n], or [n, groups]
    spread = transposed ? Spread{groups, 1} : Spread{1, n};
  } else if (!llvm::all_of(given, NodeContext::isOne)) {
    if (axis == inputAxis || given.size() != 1)
      return std::nullopt;
    spread = {1, 0};
  }
  auto count = dyn_cast<AffineConstantExpr>(edge::product(given, node.context()));
  if (!count || count.getValue() != (block > 0 ? n * groups : spread.perChannel ? n : 1))
    return std::nullopt;

  std::optional<Numbers> zeroPoints;
  const uint8_t middle = 1 << (numbers.bits - 1);
  if (node.has(2))
    zeroPoints.emplace(node.info(2));
  auto zeroOf = [&](int64_t channel, int64_t g) -> uint8_t {
    return zeroPoints ? (*zeroPoints)[spread(channel, g)] : node.isUnsigned(0) ? 0 : middle;
  };
  bool hasZeros = false;
  for (int64_t channel = 0; channel < n && !hasZeros; ++channel)
    for (int64_t g = 0; g < groups; ++g)
      hasZeros |= zeroOf(channel, g) != middle;

  std::string name = node.info(0).name;
  WeightRef weight;
  weight.transposed = true;
  weight.quantization = edge::QuantizationAttr::get(node.context(), numbers.bits, group, scales.scaleType(), hasZeros,
                                                    edge::ActivationPrecision::Float);
  const int64_t groupBytes = edge::groupBytes(weight.quantization, k), length = edge::groupSize(weight.quantization, k);
  Type i8 = node.builder.getI8Type();
  // What the user sees is where the new constants belong: the node may be converted already.
  weight.value = makeWeight(user, {n, groups, groupBytes}, i8, name + ".numbers", [&](int64_t first, int64_t end, char *data) {
    std::memset(data + first * groups * groupBytes, 0, (end - first) * groups * groupBytes);
    // Inputs outside, so that what lies together is read together; the channels of a call fit the cache.
    for (int64_t i = 0; i < k; ++i)
      for (int64_t channel = first; channel < end; ++channel) {
        uint8_t value = numbers[transposed ? channel * k + i : i * n + channel];
        char *group = data + (channel * groups + i / length) * groupBytes;
        if (numbers.bits == 8)
          group[i % length] = value;
        else
          group[i % length / 2] |= value << (i % length % 2 * 4);
      }
  });
  weight.scales =
      makeWeight(user, {n, groups}, scales.scaleType(), name + ".scales", [&](int64_t first, int64_t end, char *data) {
    for (int64_t channel = first; channel < end; ++channel)
      for (int64_t g = 0; g < groups; ++g)
        scales.copy(spread(channel, g), data + (channel * groups + g) * scales.scaleBytes());
  });
  if (hasZeros)
    weight.zeros = makeWeight(user, {n, groups}, i8, name + ".zeros", [&](int64_t first, int64_t end, char *data) {
      for (int64_t channel = first; channel < end; ++channel)
        for (int64_t g = 0; g < groups; ++g)
          data[channel * groups + g] = zeroOf(channel, g);
    });
  if (!weight.value || !weight.scales || (hasZeros && !weight.zeros))
    return std::nullopt;
  return known = weight;
}

FailureOr<WeightRef> blockQuantizedWeight(NodeContext &node, const BlockQuantized &inputs) {
  auto [numbersAt, scalesAt, zerosAt, n, k, bits, block, rowBytes, activations] = inputs;
  if (bits != 4 && bits != 8)
    return node.unsupported(Twine(bits) + "-bit weights; 4 and 8 are supported");
  if (block <= 0 || block % 16 != 0)
    return node.unsupported("a block_size of " + Twine(block) + "; multiples of 16 are supported");
  const int64_t groups = llvm::divideCeil(k, block), bytes = block * bits / 8;
  const Floats scales(node.info(scalesAt));
  const Numbers numbers(node.info(numbersAt));
  if (!scales || !numbers || numbers.bits != 8)
    return node.unsupported("weights, scales and zero points must be constants: bytes, and scales in floating point");
  auto elements = [&](unsigned i) {
    auto count = dyn_cast<AffineConstantExpr>(edge::product(node.shape(i), node.context()));
    return count ? count.getValue() : 0;
  };
  if (elements(numbersAt) != n * rowBytes || elements(scalesAt) != n * groups)
    return node.unsupported("weights of " + Twine(elements(numbersAt)) + " bytes and " + Twine(elements(scalesAt)) +
                            " scales; N " + Twine(n) + ", K " + Twine(k) + " and block_size " + Twine(block) + " need " +
                            Twine(n * rowBytes) + " and " + Twine(n * groups));
  Type i8 = node.builder.getI8Type(), zeroType;
  std::string name = node.info(numbersAt).name;
  WeightRef weight;
  weight.transposed = true;
  weight.quantization = edge::QuantizationAttr::get(node.context(), bits, block, scales.scaleType(), zerosAt >= 0, activations);

  // What lies as it should is the file's own memory.
  auto shaped = [&](unsigned i, ArrayRef<int64_t> shape, Type element) -> Value {
    auto resource = dyn_cast<DenseResourceElementsAttr>(node.info(i).constant);
    if (!resource)
      return {};
    auto type = RankedTensorType::get(shape, element);
    return edge::WeightOp::create(node.builder, node.loc, type, node.builder.getStringAttr(node.info(i).name),
                                  DenseResourceElementsAttr::get(type, resource.getRawHandle()));
  };
  if (rowBytes == groups * bytes)
    weight.value = shaped(numbersAt, {n, groups, bytes}, i8);
  if (!weight.value)
    weight.value = makeWeight(node, {n, groups, bytes}, i8, name, [&](int64_t first, int64_t end, char *data) {
      std::memset(data + first * groups * bytes, 0, (end - first) * groups * bytes);
      for (int64_t channel = first; channel < end; ++channel)
        for (int64_t i = 0; i < rowBytes; ++i)
          data[channel * groups * bytes + i] = numbers[channel * rowBytes + i];
    });
  if (!scales.type.isBF16())
    weight.scales = shaped(scalesAt, {n, groups}, scales.type);
  if (!weight.scales)
    weight.scales =
        makeWeight(node, {n, groups}, scales.scaleType(), node.info(scalesAt).name, [&](int64_t first, int64_t end, char *data) {
      for (int64_t i = first * groups; i < end * groups; ++i)
        scales.copy(i, data + i * scales.scaleBytes());
    });
  if (zerosAt < 0)
    return weight;

  const int64_t zeroBytes = llvm::divideCeil(groups * bits, 8);
  std::string zeroName = node.info(zerosAt).name;
  if (const Floats zeros(node.info(zerosAt)); zeros && zeros.type == scales.type && elements(zerosAt) == n * groups) {
    weight.zeros = makeWeight(node, {n, groups}, zeros.scaleType(), zeroName, [&](int64_t first, int64_t end, char *data) {
      for (int64_t i = first * groups; i < end * groups; ++i)
        zeros.copy(i, data + i * zeros.scaleBytes());
    });
    return weight;
  }
  const Numbers zeros(node.info(zerosAt));
  if (!zeros || zeros.bits != 8 || elements(zerosAt) != n * zeroBytes)
    return node.unsupported("zero points must be constants, " + Twine(n * zeroBytes) + " packed bytes or " + Twine(n * groups) +
                            " of the scales' type");
  weight.zeros = makeWeight(node, {n, groups}, i8, zeroName, [&](int64_t first, int64_t end, char *data) {
    for (int64_t channel = first; channel < end; ++channel)
      for (int64_t g = 0; g < groups; ++g) {
        // Each channel begins a byte.
        uint8_t byte = zeros[channel * zeroBytes + g * bits / 8];
        data[channel * groups + g] = byte >> (g * bits % 8) & ((1 << bits) - 1);
      }
  });
  return weight;
}

Value widenedToBytes(NodeContext &node, unsigned i) {
  const TensorInfo &known = node.info(i);
  const Numbers numbers(known);
  auto count = dyn_cast<AffineConstantExpr>(edge::product(known.shape, node.context()));
  if (!numbers || !count)
    return {};
  const uint8_t middle = known.isUnsigned ? 0 : 8;
  Value flat = makeWeight(node, {count.getValue()}, node.builder.getI8Type(), known.name + ".bytes",
                          [&](int64_t first, int64_t end, char *data) {
    for (int64_t at = first; at < end; ++at)
      data[at] = numbers[at] - middle;
  });
  return flat ? node.reshape(flat, known.shape) : Value();
}

} // namespace edgecc

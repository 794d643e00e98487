//===- Constants.cpp - ONNX tensors and types in MLIR -----------------------===//
//
// A tensor's values may stand in four places of a file: raw bytes, typed lists of numbers, another file, or nowhere if it is
// empty. All become one run of little-endian bytes here; nobody later knows the difference.
//
//===----------------------------------------------------------------------===//
#include "compiler/frontend/Constants.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"

using namespace edgecc::onnx;
using llvm::StringRef;

// Constants are used in place, as the file has them.
static_assert(llvm::endianness::native == llvm::endianness::little, "edgecc runs on little-endian hosts");

namespace {
/// Fields of TensorProto that hold typed values.
enum TypedField : unsigned { FloatData = 4, Int32Data = 5, Int64Data = 7, DoubleData = 10, UInt64Data = 11 };

struct DataTypeRow {
  const char *name;
  unsigned bits;    ///< in a file; 0 if it cannot be imported
  TypedField typed; ///< where ONNX puts values that are not raw
};
} // namespace

/// Indexed by TensorProto.DataType.
static const DataTypeRow dataTypes[] = {
    {"undefined", 0, Int32Data},      {"float", 32, FloatData},     {"uint8", 8, Int32Data},
    {"int8", 8, Int32Data},           {"uint16", 16, Int32Data},    {"int16", 16, Int32Data},
    {"int32", 32, Int32Data},         {"int64", 64, Int64Data},     {"string", 0, Int32Data},
    {"bool", 8, Int32Data},           {"float16", 16, Int32Data},   {"double", 64, DoubleData},
    {"uint32", 32, UInt64Data},       {"uint64", 64, UInt64Data},   {"complex64", 0, FloatData},
    {"complex128", 0, DoubleData},    {"bfloat16", 16, Int32Data},  {"float8e4m3fn", 8, Int32Data},
    {"float8e4m3fnuz", 8, Int32Data}, {"float8e5m2", 8, Int32Data}, {"float8e5m2fnuz", 8, Int32Data},
    {"uint4", 4, Int32Data},          {"int4", 4, Int32Data},       {"float4e2m1", 4, Int32Data},
    {"float8e8m0", 8, Int32Data}};

std::string edgecc::onnx::dataTypeName(int32_t type) {
  if (type >= 0 && static_cast<size_t>(type) < std::size(dataTypes))
    return dataTypes[type].name;
  return "type number " + std::to_string(type);
}

mlir::Type edgecc::onnx::elementType(int32_t type, mlir::MLIRContext *context) {
  auto integer = [&](unsigned bits, bool isUnsigned = false) -> mlir::Type {
    return mlir::IntegerType::get(context, bits, isUnsigned ? mlir::IntegerType::Unsigned : mlir::IntegerType::Signless);
  };
  switch (type) {
  case proto::Float: return mlir::Float32Type::get(context);
  case proto::Float16: return mlir::Float16Type::get(context);
  case proto::BFloat16: return mlir::BFloat16Type::get(context);
  case proto::Double: return mlir::Float64Type::get(context);
  case proto::Float8E4M3FN: return mlir::Float8E4M3FNType::get(context);
  case proto::Float8E4M3FNUZ: return mlir::Float8E4M3FNUZType::get(context);
  case proto::Float8E5M2: return mlir::Float8E5M2Type::get(context);
  case proto::Float8E5M2FNUZ: return mlir::Float8E5M2FNUZType::get(context);
  case proto::Float8E8M0: return mlir::Float8E8M0FNUType::get(context);
  case proto::Float4E2M1: return mlir::Float4E2M1FNType::get(context);
  case proto::Bool: return integer(1);
  case proto::Int4: return integer(4);
  case proto::Int8: return integer(8);
  case proto::Int16: return integer(16);
  case proto::Int32: return integer(32);
  case proto::Int64: return integer(64);
  case proto::UInt4: return integer(4, true);
  case proto::UInt8: return integer(8, true);
  case proto::UInt16: return integer(16, true);
  case proto::UInt32: return integer(32, true);
  case proto::UInt64: return integer(64, true);
  default: return {};
  }
}

static llvm::Error wrong(StringRef name, const llvm::Twine &what) {
  return llvm::createStringError("tensor '" + name + "' " + what);
}

/// Decodes a typed list; at most `bytes` + 8 are produced, so that a lying size cannot fill the memory.
static std::optional<std::string> typedBytes(const proto::Tensor &tensor, unsigned bits, uint64_t bytes) {
  std::string result;
  if (tensor.typedField == FloatData || tensor.typedField == DoubleData) {
    for (StringRef chunk : tensor.typed)
      result.append(chunk.begin(), chunk.end());
    return result;
  }
  // Two 4-bit numbers share an entry, as they share a byte.
  unsigned width = std::max(bits, 8u) / 8;
  bool intact = proto::decodeVarints(tensor.typed, [&](uint64_t value) {
    if (result.size() <= bytes)
      result.append(reinterpret_cast<const char *>(&value), width);
  });
  return intact ? std::optional(std::move(result)) : std::nullopt;
}

llvm::Expected<SharedBytes> ConstantLoader::bytesOf(const proto::Tensor &tensor, StringRef name, uint64_t elements,
                                                    unsigned bits) {
  uint64_t bytes = llvm::divideCeil(elements * bits, 8);
  if (tensor.external)
    return store.find(tensor, bytes);
  SharedBytes result{tensor.raw, model};
  if (!tensor.raw.data() && tensor.typedField) {
    TypedField wanted = dataTypes[tensor.type].typed;
    if (tensor.typedField != wanted)
      return wrong(name, "has its " + dataTypeName(tensor.type) + " values in a field for another type");
    std::optional<std::string> values = typedBytes(tensor, bits, bytes);
    if (!values)
      return wrong(name, "has a damaged list of values");
    result.owner = FileBytes::own(std::move(*values));
    result.bytes = result.owner->bytes();
  }
  if (result.bytes.size() != bytes)
    return wrong(name,
                 "has " + llvm::Twine(bytes) + " bytes by its type, but " + llvm::Twine(result.bytes.size()) + " in the file");
  return result;
}

/// Small values, copied: one element if all are equal, so that fills stay readable.
static mlir::DenseElementsAttr denseOf(mlir::RankedTensorType type, StringRef bytes, unsigned bits) {
  if (type.getElementType().isInteger(1)) {
    llvm::SmallVector<bool> values(llvm::map_range(bytes, [](char byte) { return byte != 0; }));
    return mlir::DenseElementsAttr::get(type, llvm::ArrayRef(values));
  }
  std::string unpacked;
  if (bits == 4) { // MLIR gives each a byte
    for (int64_t i = 0, count = type.getNumElements(); i < count; ++i)
      unpacked.push_back((bytes[i / 2] >> (i % 2 * 4)) & 15);
    bytes = unpacked;
    bits = 8;
  }
  StringRef first = bytes.take_front(bits / 8);
  bool splat = bytes.size() > first.size();
  for (StringRef rest = bytes; splat && !rest.empty(); rest = rest.drop_front(first.size()))
    splat = rest.starts_with(first);
  return mlir::DenseElementsAttr::getFromRawBuffer(
      type, llvm::ArrayRef<char>((splat ? first : bytes).data(), (splat ? first : bytes).size()));
}

llvm::Expected<mlir::ElementsAttr> ConstantLoader::load(const proto::Tensor &tensor, StringRef name) {
  mlir::Type element = elementType(tensor.type, context);
  if (!element)
    return wrong(name, "has elements of " + dataTypeName(tensor.type) + ", which is not supported");
  unsigned bits = dataTypes[tensor.type].bits;
  uint64_t elements = 1;
  bool overflow = false;
  for (int64_t size : tensor.dims) {
    if (size < 0)
      return wrong(name, "has a dimension of " + llvm::Twine(size));
    overflow |= __builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements) || elements > (1ull << 48);
  }
  if (overflow)
    return wrong(name, "is larger than any machine");
  llvm::Expected<SharedBytes> found = bytesOf(tensor, name, elements, bits);
  if (!found)
    return found.takeError();
  StringRef bytes = found->bytes;
  auto type = mlir::RankedTensorType::get(tensor.dims, element);
  if (bytes.size() <= inlineBytes || element.isInteger(1))
    return denseOf(type, bytes, bits);

  size_t alignment = std::max(bits / 8, 1u);
  mlir::AsmResourceBlob blob;
  llvm::ArrayRef<char> data(bytes.data(), bytes.size());
  if (reinterpret_cast<uintptr_t>(data.data()) % alignment)
    blob = mlir::HeapAsmResourceBlob::allocateAndCopyWithAlign(data, 64, /*dataIsMutable=*/false);
  else
    blob = mlir::UnmanagedAsmResourceBlob::allocateWithAlign(data, alignment, [owner = found->owner](void *, size_t, size_t) {});
  return mlir::DenseResourceElementsAttr::get(type, name, std::move(blob));
}

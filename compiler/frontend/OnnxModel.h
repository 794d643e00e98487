//===- OnnxModel.h - An ONNX file, decoded but not understood ---------------===//
//
// Why not libprotobuf's classes: they copy every weight out of the mapping, stop at 2 GB, throw, and Debian's are from
// ONNX 1.12. These structs borrow everything from the mapped bytes, so reading a model of any size costs its node count.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_FRONTEND_ONNXMODEL_H
#define EDGECC_COMPILER_FRONTEND_ONNXMODEL_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace edgecc::onnx::proto {

/// TensorProto.DataType of ONNX 1.22.
enum DataType : int32_t {
  Undefined = 0,
  Float,
  UInt8,
  Int8,
  UInt16,
  Int16,
  Int32,
  Int64,
  String,
  Bool,
  Float16,
  Double,
  UInt32,
  UInt64,
  Complex64,
  Complex128,
  BFloat16,
  Float8E4M3FN,
  Float8E4M3FNUZ,
  Float8E5M2,
  Float8E5M2FNUZ,
  UInt4,
  Int4,
  Float4E2M1,
  Float8E8M0
};

using KeyValue = std::pair<llvm::StringRef, llvm::StringRef>;

struct Tensor {
  llvm::StringRef name;
  int32_t type = Undefined;
  std::vector<int64_t> dims;
  /// Little endian; 4-bit types two to a byte, low half first. Without data() if the file has none.
  llvm::StringRef raw;
  /// The encoded values of float_data, int32_data, ... in order: little endian for floats, varints for integers.
  std::vector<llvm::StringRef> typed;
  unsigned typedField = 0; ///< field number of `typed`, 0 if there is none
  bool external = false;
  std::vector<KeyValue> externalData;
};

struct Dimension {
  int64_t value = -1; ///< -1 if not static
  llvm::StringRef name;
};

struct Type {
  bool isTensor = false; ///< false for sequences, maps, optionals and sparse tensors
  int32_t element = Undefined;
  bool hasShape = false;
  std::vector<Dimension> dims;
};

struct ValueInfo {
  llvm::StringRef name;
  Type type;
};

/// AttributeProto.AttributeType, with its numbers.
enum class AttributeKind {
  None = 0,
  Float,
  Int,
  String,
  Tensor,
  Graph,
  Floats,
  Ints,
  Strings,
  Tensors,
  Graphs,
  SparseTensor,
  SparseTensors,
  TypeProto,
  TypeProtos
};

struct Attribute {
  llvm::StringRef name, reference; ///< reference: the attribute of the enclosing function this one stands for, or empty
  AttributeKind kind = AttributeKind::None;
  float f = 0;
  int64_t i = 0;
  llvm::StringRef s, graph; ///< graph: the encoded GraphProto, see readGraph
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<llvm::StringRef> strings;
  std::vector<Tensor> tensors; ///< one for `t`
  Type type;
};

struct Node {
  llvm::StringRef name, op, domain, overload;
  std::vector<llvm::StringRef> inputs, outputs;
  std::vector<Attribute> attributes;
};

struct Graph {
  llvm::StringRef name;
  std::vector<Node> nodes;
  std::vector<Tensor> initializers;
  std::vector<llvm::StringRef> sparseInitializers; ///< names only: they cannot be imported
  std::vector<ValueInfo> inputs, outputs, values;
};

struct OpsetImport {
  llvm::StringRef domain;
  int64_t version = 0;
};

struct Function {
  llvm::StringRef name, domain, overload;
  std::vector<llvm::StringRef> inputs, outputs;
  std::vector<Attribute> defaults;
  std::vector<Node> nodes;
  std::vector<OpsetImport> opsets;
  std::vector<ValueInfo> values;
};

struct Model {
  int64_t irVersion = 0;
  llvm::StringRef producer, producerVersion;
  bool hasGraph = false;
  Graph graph;
  std::vector<OpsetImport> opsets;
  std::vector<Function> functions;
  std::vector<KeyValue> metadata;
};

/// Decodes a ModelProto. Everything borrows from `bytes`. The error says at which byte the file is damaged.
llvm::Expected<Model> readModel(llvm::StringRef bytes);

/// Decodes a GraphProto found in an attribute.
llvm::Expected<Graph> readGraph(llvm::StringRef bytes);

/// The integers of an int32_data, int64_data or uint64_data field, sign-extended to 64 bits; false if damaged.
bool decodeVarints(llvm::ArrayRef<llvm::StringRef> chunks, llvm::function_ref<void(uint64_t)> each);

} // namespace edgecc::onnx::proto
#endif // EDGECC_COMPILER_FRONTEND_ONNXMODEL_H

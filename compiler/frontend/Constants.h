//===- Constants.h - ONNX tensors and types in MLIR -------------------------===//
#ifndef EDGECC_COMPILER_FRONTEND_CONSTANTS_H
#define EDGECC_COMPILER_FRONTEND_CONSTANTS_H

#include "compiler/frontend/WeightStore.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"

namespace edgecc::onnx {

/// The name of an element type as ONNX spells it ("float16"); a number for one this compiler has never heard of.
std::string dataTypeName(int32_t type);

/// The element type in MLIR; null for strings, complex numbers and unknown types.
mlir::Type elementType(int32_t type, mlir::MLIRContext *context);

/// Turns tensors of a file into elements attributes. Values of at most `inlineBytes` become `dense`; larger ones borrow from
/// the mapped file as `dense_resource`, aligned to their element type (copied once if the file does not align them). Bools
/// are always `dense`; large 4-bit tensors keep ONNX's packing, two to a byte, low half first.
class ConstantLoader {
public:
  ConstantLoader(mlir::MLIRContext *context, WeightStore &store, std::shared_ptr<const FileBytes> model, size_t inlineBytes)
      : context(context), store(store), model(std::move(model)), inlineBytes(inlineBytes) {}

  /// `name` is that of the initializer or node, for errors and resource keys. Errors begin with "tensor 'name'".
  llvm::Expected<mlir::ElementsAttr> load(const proto::Tensor &tensor, llvm::StringRef name);

private:
  llvm::Expected<SharedBytes> bytesOf(const proto::Tensor &tensor, llvm::StringRef name, uint64_t elements, unsigned bits);

  mlir::MLIRContext *context;
  WeightStore &store;
  std::shared_ptr<const FileBytes> model;
  size_t inlineBytes;
};

} // namespace edgecc::onnx
#endif // EDGECC_COMPILER_FRONTEND_CONSTANTS_H

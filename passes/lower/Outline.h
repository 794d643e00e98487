//===- Outline.h - Kernels become functions ---------------------------------===//
//
// Equal bodies become one function: layers are data, not code.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_LOWER_OUTLINE_H
#define EDGECC_PASSES_LOWER_OUTLINE_H

#include "dialects/edge/EdgeDialect.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <unordered_map>

namespace edgecc::lower {

/// A function without a body's contents at the end of the module; a private one is the code image's own.
mlir::func::FuncOp createFunction(mlir::ModuleOp module, llvm::StringRef name, mlir::TypeRange types, bool isPrivate);

/// edge.dim i -> dims[i], a load from an array of i64.
void lowerDims(mlir::func::FuncOp function, mlir::Value dims);

class KernelOutliner {
public:
  explicit KernelOutliner(mlir::ModuleOp module) : module(module), typeConverter(module.getContext()) {}

  /// The function NAME.task of type edgecc_task (runtime/include/edgecc/abi.h) that does what the kernel's body does; the body
  /// may be moved into it.
  mlir::func::FuncOp outline(edge::KernelOp kernel);

private:
  mlir::func::FuncOp createBody(edge::KernelOp kernel, llvm::StringRef name);
  mlir::func::FuncOp createTask(mlir::func::FuncOp body, llvm::StringRef name, unsigned buffers);

  struct Outlined {
    llvm::SmallVector<mlir::Type> tensors;
    std::unique_ptr<mlir::Region> body; // a copy: the kernel's own moves into the function
    mlir::func::FuncOp function;
  };

  mlir::ModuleOp module;
  mlir::LLVMTypeConverter typeConverter;
  std::unordered_map<size_t, std::vector<Outlined>> known; // by a hash of the operations
  llvm::StringMap<unsigned> counts;
};

} // namespace edgecc::lower
#endif // EDGECC_PASSES_LOWER_OUTLINE_H

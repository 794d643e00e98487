# Debian's LLVM 22, as it stands: shared libraries MLIR and LLVM only (mixing in the static ones duplicates TypeIDs).
set(LLVM_PREFIX /usr/lib/llvm-22 CACHE PATH "Where LLVM 22 is installed")
# No version number: MLIR's version file refuses 22.
find_package(MLIR REQUIRED CONFIG HINTS ${LLVM_PREFIX}/lib/cmake/mlir)
find_package(LLD REQUIRED CONFIG HINTS ${LLVM_PREFIX}/lib/cmake/lld)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})

# Half of the time of a small MLIR file is spent in these headers.
file(WRITE ${CMAKE_BINARY_DIR}/edgecc_pch.cpp "")
add_library(edgecc_pch STATIC ${CMAKE_BINARY_DIR}/edgecc_pch.cpp)
target_compile_options(edgecc_pch PRIVATE ${EDGECC_WARNINGS})
target_precompile_headers(edgecc_pch PRIVATE
  <mlir/Dialect/Affine/IR/AffineOps.h> <mlir/IR/Builders.h> <mlir/IR/BuiltinOps.h> <mlir/IR/PatternMatch.h> <mlir/Pass/Pass.h>
  <mlir/Dialect/Arith/IR/Arith.h> <mlir/Dialect/Func/IR/FuncOps.h> <mlir/Dialect/Linalg/IR/Linalg.h>
  <mlir/Dialect/Math/IR/Math.h> <mlir/Dialect/MemRef/IR/MemRef.h> <mlir/Dialect/SCF/IR/SCF.h>
  <mlir/Dialect/Tensor/IR/Tensor.h> <mlir/Dialect/Vector/IR/VectorOps.h> <mlir/Dialect/LLVMIR/LLVMDialect.h>)

//===- Codegen.h - From the LLVM dialect to an image of code -----------------===//
//
// Generated code runs without a loader: an image has no import, no relocation and no writable byte, so that the runtime maps
// it read and execute as it lies in the file. Whatever would break this is found here and refused by name.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_CODEGEN_CODEGEN_H
#define EDGECC_COMPILER_CODEGEN_CODEGEN_H

#include "compiler/codegen/Targets.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace edgecc {

using Bytes = llvm::SmallVector<char, 0>;

/// A position-independent image: to be mapped at any address that is a multiple of 4096, read and execute.
struct CodeImage {
  const Variant *variant = nullptr;
  Bytes bytes;
  llvm::StringMap<uint64_t> entries;       ///< function name of a plan.entry -> offset in `bytes`
  std::map<uint64_t, std::string> kernels; ///< where each kernel begins that the runtime calls, for profiles
};

/// The code of one variant on its way. `translate`, `optimize`, then one of the last four; each of those ends the unit's life.
class CodeUnit {
public:
  /// `module`: LLVM dialect functions and one plan.model; it stays as it is. Functions that no plan.entry names become private
  /// (unless there is no plan). Translation errors have been reported as diagnostics when this fails.
  static llvm::Expected<CodeUnit> translate(mlir::ModuleOp module, const Variant &variant);

  /// How much time generating code may take. `Quick` is for code that runs a few times on small tensors.
  enum class Effort { Full, Quick };
  void optimize(Effort effort = Effort::Full);

  std::string llvmIR() const;
  llvm::Expected<std::string> assembly();
  /// A relocatable object without undefined symbols and without writable data.
  llvm::Expected<Bytes> object();
  llvm::Expected<CodeImage> image();

  const Variant &variant() const { return *row; }
  llvm::ArrayRef<std::string> entries() const { return entryNames; }
  /// Puts `prefix` before the entries' names: two models can then be linked into one program.
  void prefixEntries(llvm::StringRef prefix);

private:
  llvm::Expected<Bytes> emit(bool asAssembly);

  const Variant *row = nullptr;
  std::vector<std::string> entryNames;
  std::unique_ptr<std::string> problems = std::make_unique<std::string>(); ///< what LLVM complained about, for `emit`
  std::unique_ptr<llvm::LLVMContext> context;                              // before the module: the module goes first
  std::unique_ptr<llvm::Module> module;
  std::unique_ptr<llvm::TargetMachine> machine;
};

/// Runs `work(i)` for each i in [0, count) on at most `threads` threads; all errors are joined.
llvm::Error forEachInParallel(size_t count, unsigned threads, llvm::function_ref<llvm::Error(size_t)> work);

/// Checks an object for undefined symbols and writable data; the error names the symbols and the functions that use them.
llvm::Error checkFreestanding(llvm::ArrayRef<char> object, const Variant &variant);

/// Links an object that passed checkFreestanding into an image. Safe to call from several threads. Uses no file on disk.
llvm::Expected<CodeImage> linkImage(llvm::ArrayRef<char> object, const Variant &variant, llvm::ArrayRef<std::string> entries);

} // namespace edgecc
#endif // EDGECC_COMPILER_CODEGEN_CODEGEN_H

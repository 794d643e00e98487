//===- Codegen.cpp - Translate, optimize, emit --------------------------------===//
#include "compiler/codegen/Codegen.h"
#include "dialects/plan/PlanDialect.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/Analysis/TargetTransformInfo.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Transforms/Utils/LowerMemIntrinsics.h"
#include <atomic>
#include <mutex>
#include <thread>

using namespace llvm;
namespace edgecc {
namespace {

/// A copy or fill that stays below this is unrolled into moves by every back end, one above may become a call.
constexpr uint64_t kInlineCopyBytes = 64;

/// Turns memcpy, memmove and memset intrinsics into loops. Run before the optimizer, so that the loops are vectorized, and
/// after it, for those that it has made.
struct ExpandMemoryIntrinsics : PassInfoMixin<ExpandMemoryIntrinsics> {
  static bool isRequired() { return true; }

  PreservedAnalyses run(Function &function, FunctionAnalysisManager &analyses) {
    SmallVector<MemIntrinsic *> found;
    for (Instruction &instruction : instructions(function))
      if (auto *memory = dyn_cast<MemIntrinsic>(&instruction)) {
        auto *length = dyn_cast<ConstantInt>(memory->getLength());
        if (!length || length->getZExtValue() > kInlineCopyBytes)
          found.push_back(memory);
      }
    const TargetTransformInfo &costs = analyses.getResult<TargetIRAnalysis>(function);
    for (MemIntrinsic *memory : found) {
      if (auto *copy = dyn_cast<MemCpyInst>(memory))
        expandMemCpyAsLoop(copy, costs);
      else if (auto *move = dyn_cast<MemMoveInst>(memory))
        expandMemMoveAsLoop(move, costs);
      else
        expandMemSetAsLoop(cast<MemSetInst>(memory));
      memory->eraseFromParent();
    }
    return found.empty() ? PreservedAnalyses::all() : PreservedAnalyses::none();
  }
};

/// No function of the C library exists where the code runs: nothing may be turned into a call of one.
TargetLibraryInfoImpl emptyLibrary(const Triple &triple) {
  TargetLibraryInfoImpl library(triple);
  library.disableAllFunctions();
  return library;
}

std::vector<std::string> findEntries(mlir::ModuleOp module) {
  std::vector<std::string> names;
  module.walk([&](plan::EntryOp entry) { names.push_back(entry.getFunction().str()); });
  return names;
}

} // namespace

Expected<CodeUnit> CodeUnit::translate(mlir::ModuleOp source, const Variant &variant) {
  CodeUnit unit;
  unit.row = &variant;
  unit.entryNames = findEntries(source);
  for (const std::string &name : unit.entryNames)
    if (auto function = source.lookupSymbol<mlir::LLVM::LLVMFuncOp>(name); !function || function.isExternal())
      return createStringError("the plan names the function '%s', which has no body in the module", name.c_str());

  mlir::DialectRegistry registry;
  mlir::registerAllToLLVMIRTranslations(registry);
  source.getContext()->appendDialectRegistry(registry);
  mlir::OwningOpRef<mlir::ModuleOp> code = source.clone();
  for (auto model : llvm::make_early_inc_range(code->getOps<plan::ModelOp>()))
    model.erase();

  unit.context = std::make_unique<LLVMContext>();
  // LLVM's own handler would print and exit.
  unit.context->setDiagnosticHandlerCallBack([](const DiagnosticInfo *info, void *problems) {
    if (info->getSeverity() != DS_Error)
      return;
    raw_string_ostream stream(*static_cast<std::string *>(problems));
    DiagnosticPrinterRawOStream printer(stream);
    stream << "\n  ";
    info->print(printer);
  }, unit.problems.get());
  unit.module = mlir::translateModuleToLLVMIR(*code, *unit.context, "edgecc");
  if (!unit.module)
    return createStringError("the module for %s could not be turned into LLVM IR", variant.name.str().c_str());
  auto machine = variant.machine();
  if (!machine)
    return machine.takeError();
  unit.machine = std::move(*machine);
  unit.module->setTargetTriple(unit.machine->getTargetTriple());
  unit.module->setDataLayout(unit.machine->createDataLayout());
  unit.module->setPICLevel(PICLevel::SmallPIC);

  for (Function &function : *unit.module) {
    function.addFnAttr("no-builtins");
    function.removeFnAttr(Attribute::UWTable);
    if (function.isDeclaration())
      continue;
    function.setDoesNotThrow();
    function.addFnAttr("target-cpu", variant.cpu);
    function.addFnAttr("tune-cpu", variant.tune);
    if (StringRef features = unit.machine->getTargetFeatureString(); !features.empty())
      function.addFnAttr("target-features", features);
    function.setDSOLocal(true);
    if (!unit.entryNames.empty() && !llvm::is_contained(unit.entryNames, function.getName()))
      function.setLinkage(GlobalValue::InternalLinkage);
  }
  for (GlobalVariable &global : unit.module->globals())
    if (!global.isDeclaration()) {
      global.setLinkage(GlobalValue::InternalLinkage);
      global.setDSOLocal(true);
    }
  return unit;
}

void CodeUnit::optimize(Effort effort) {
  bool quick = effort == Effort::Quick;
  if (quick)
    machine->setOptLevel(CodeGenOptLevel::None);
  PipelineTuningOptions tuning;
  tuning.LoopVectorization = tuning.SLPVectorization = tuning.LoopInterleaving = tuning.LoopUnrolling = true;
  PassBuilder builder(machine.get(), tuning);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager calls;
  ModuleAnalysisManager modules;
  functions.registerPass([&] { return TargetLibraryAnalysis(emptyLibrary(machine->getTargetTriple())); });
  functions.registerPass([&] { return machine->getTargetIRAnalysis(); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(calls);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, calls, modules);

  ModulePassManager passes;
  passes.addPass(createModuleToFunctionPassAdaptor(ExpandMemoryIntrinsics()));
  passes.addPass(quick ? builder.buildO0DefaultPipeline(OptimizationLevel::O0)
                       : builder.buildPerModuleDefaultPipeline(OptimizationLevel::O3));
  passes.addPass(createModuleToFunctionPassAdaptor(ExpandMemoryIntrinsics()));
  passes.run(*module, modules);
}

std::string CodeUnit::llvmIR() const {
  std::string text;
  raw_string_ostream(text) << *module;
  return text;
}

Expected<Bytes> CodeUnit::emit(bool asAssembly) {
  Bytes bytes;
  raw_svector_ostream stream(bytes);
  legacy::PassManager passes;
  passes.add(new TargetLibraryInfoWrapperPass(emptyLibrary(machine->getTargetTriple())));
  if (machine->addPassesToEmitFile(passes, stream, nullptr,
                                   asAssembly ? CodeGenFileType::AssemblyFile : CodeGenFileType::ObjectFile))
    return createStringError("LLVM cannot emit code for %s", row->name.str().c_str());
  passes.run(*module);
  if (!problems->empty())
    return createStringError("LLVM cannot generate code for %s:%s", row->name.str().c_str(), problems->c_str());
  return bytes;
}

Expected<std::string> CodeUnit::assembly() {
  auto bytes = emit(/*asAssembly=*/true);
  if (!bytes)
    return bytes.takeError();
  return std::string(bytes->begin(), bytes->end());
}

Expected<Bytes> CodeUnit::object() {
  auto bytes = emit(/*asAssembly=*/false);
  if (!bytes)
    return bytes.takeError();
  if (Error error = checkFreestanding(*bytes, *row))
    return error;
  return bytes;
}

Expected<CodeImage> CodeUnit::image() {
  auto bytes = object();
  if (!bytes)
    return bytes.takeError();
  return linkImage(*bytes, *row, entryNames);
}

void CodeUnit::prefixEntries(StringRef prefix) {
  for (std::string &name : entryNames) {
    Function *function = module->getFunction(name);
    function->setName(prefix + name);
    name = function->getName().str();
  }
}

Error forEachInParallel(size_t count, unsigned threads, function_ref<Error(size_t)> work) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  Error all = Error::success();
  auto loop = [&] {
    for (size_t i; (i = next++) < count;)
      if (Error error = work(i)) {
        std::lock_guard<std::mutex> lock(mutex);
        all = joinErrors(std::move(all), std::move(error));
      }
  };
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < std::min<size_t>(threads, count); ++i)
    helpers.emplace_back(loop);
  loop();
  for (std::thread &helper : helpers)
    helper.join();
  return all;
}

} // namespace edgecc

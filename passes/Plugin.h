//===- Plugin.h - Passes from shared libraries ------------------------------===//
//
// The mechanism is MLIR's (mlirGetPassPluginInfo). What is ours: a plugin says which edgecc it was built for, since it uses our
// C++ classes, whose layout may change with any version; and what is wrong with one is a sentence, not a crash later.
//
// A plugin is built with edgecc_pass_plugin of tools/cmake/EdgeccConfig.cmake.in and links nothing: MLIR and the dialects are the
// program's own.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PLUGIN_H
#define EDGECC_PASSES_PLUGIN_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "llvm/Config/llvm-config.h"

#define EDGECC_PLUGIN_BUILT_FOR "edgecc " EDGECC_VERSION ", LLVM " LLVM_VERSION_STRING

/// Once in a plugin; `registerPasses` is called when it is loaded and registers passes (mlir::PassRegistration).
#define EDGECC_PASS_PLUGIN(name, registerPasses)                                                                                 \
  extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT const char *edgeccPluginBuiltFor() { return EDGECC_PLUGIN_BUILT_FOR; }            \
  extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT mlir::PassPluginLibraryInfo mlirGetPassPluginInfo() {                             \
    return {MLIR_PLUGIN_API_VERSION, name, EDGECC_VERSION, registerPasses};                                                      \
  }

namespace edgecc {

/// Loads a plugin for good and registers its passes; or says why it does not fit this program.
llvm::Error loadPassPlugin(const std::string &path);

/// Adds passes by name, in the syntax of --pass-pipeline: those of modules, or those of functions, or with their levels spelt
/// out.
llvm::Error addPassesByName(mlir::OpPassManager &pm, llvm::StringRef text);

} // namespace edgecc
#endif // EDGECC_PASSES_PLUGIN_H

//===- Targets.cpp - Looking up targets and the host -------------------------===//
#include "compiler/codegen/Targets.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <mutex>

using namespace llvm;
namespace edgecc {
namespace {

SmallVector<StringRef, 6> splitList(StringRef list) {
  SmallVector<StringRef, 6> parts;
  list.split(parts, ',', -1, /*KeepEmpty=*/false);
  return parts;
}

const std::vector<Variant> &allVariants() {
  static const std::vector<Variant> rows = {
#define EDGECC_VARIANT(name, arch, triple, cpu, tune, llvmFeatures, features)                                                    \
  {name, arch, triple, cpu, tune, llvmFeatures, splitList(features)},
#include "compiler/codegen/targets.def"
  };
  return rows;
}

const std::vector<Target> &allTargets() {
  static const std::vector<Target> rows = [] {
    std::vector<Target> targets;
    auto add = [&](StringRef name, uint64_t alignment, StringRef variants) {
      Target target{name.str(), alignment, {}};
      for (StringRef wanted : splitList(variants))
        for (const Variant &variant : allVariants())
          if (variant.name == wanted)
            target.variants.push_back(&variant);
      targets.push_back(std::move(target));
    };
#define EDGECC_TARGET(name, alignment, variants) add(name, alignment, variants);
#include "compiler/codegen/targets.def"
    return targets;
  }();
  return rows;
}

/// What `feature` of targets.def means in the names LLVM reports for the host. Must agree with the runtime's own detection.
bool hostHas(const StringMap<bool> &host, StringRef feature) {
  auto all = [&](std::initializer_list<StringRef> names) {
    return llvm::all_of(names, [&](StringRef name) { return host.lookup(name); });
  };
  if (feature == "avx512")
    return all({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"});
  if (feature == "fp16")
    return all({"fullfp16"});
  return host.lookup(feature);
}

Expected<Target> hostTarget() {
  Triple triple(sys::getProcessTriple());
  StringRef arch = triple.isAArch64() ? "aarch64" : triple.getArch() == Triple::x86_64 ? "x86_64" : "";
  StringMap<bool> host = sys::getHostCPUFeatures();
  Target target{"host", 4096, {}};
  for (const Variant &variant : allVariants())
    if (variant.arch == arch && llvm::all_of(variant.features, [&](StringRef name) { return hostHas(host, name); }))
      target.variants = {&variant};
  if (target.variants.empty())
    return createStringError("this machine (%s) has none of the CPU variants that code is generated for; choose a --target (%s)",
                             triple.str().c_str(), join(targetNames(), ", ").c_str());
  if (arch == "aarch64")
    target.alignment = 16384;
  return target;
}

} // namespace

std::vector<std::string> targetNames() {
  std::vector<std::string> names = {"host"};
  for (const Target &target : allTargets())
    names.push_back(target.name);
  return names;
}

Expected<Target> findTarget(StringRef name) {
  if (name == "host")
    return hostTarget();
  for (const Target &target : allTargets())
    if (target.name == name)
      return target;
  return createStringError("there is no target '%s'; the targets are %s", name.str().c_str(), join(targetNames(), ", ").c_str());
}

Error selectVariant(Target &target, StringRef name) {
  std::string known;
  for (const Variant *variant : target.variants) {
    if (variant->name == name) {
      target.variants = {variant};
      return Error::success();
    }
    known += (known.empty() ? "" : ", ") + variant->name.str();
  }
  return createStringError("target %s has no variant '%s'; it has %s", target.name.c_str(), name.str().c_str(), known.c_str());
}

edge::TargetAttr Variant::attribute(mlir::MLIRContext *context) const {
  SmallVector<mlir::StringAttr> names;
  for (StringRef feature : features)
    names.push_back(mlir::StringAttr::get(context, feature));
  return edge::TargetAttr::get(context, mlir::StringAttr::get(context, arch), names);
}

Expected<std::unique_ptr<TargetMachine>> Variant::machine() const {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
  });
  std::string message;
  Triple parsed{triple};
  const llvm::Target *registered = TargetRegistry::lookupTarget(parsed, message);
  if (!registered)
    return createStringError("no code generator for %s: %s", name.str().c_str(), message.c_str());
  TargetOptions options;
  options.AllowFPOpFusion = FPOpFusion::Standard; // fused only where the IR says fma, or has contract flags
  options.EnableFastISel = false;
  options.FunctionSections = false;
  return std::unique_ptr<TargetMachine>(registered->createTargetMachine(parsed, cpu, llvmFeatures, options, Reloc::PIC_,
                                                                        CodeModel::Small, CodeGenOptLevel::Aggressive));
}

} // namespace edgecc

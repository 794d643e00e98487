//===- HostModel.cpp ----------------------------------------------------------===//
#include "compiler/calibrate/HostModel.h"
#include "compiler/package/Package.h"
#include "dialects/edge/Shape.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Passes.h"
#include "passes/Pipeline.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Signals.h"

using namespace llvm;
namespace edgecc {
namespace {

using Resource = mlir::DenseResourceElementsAttr;

template <typename Op> void collectResources(mlir::ModuleOp module, DenseSet<mlir::Attribute> &found) {
  module.walk([&](Op op) {
    if (auto resource = dyn_cast<Resource>(op.getValue()))
      found.insert(resource);
  });
}

/// Packed weights would stay in the context to its end: each segment that is run has its own.
void dropResources(const DenseSet<mlir::Attribute> &packed, const DenseSet<mlir::Attribute> &original) {
  for (mlir::Attribute attribute : packed)
    if (!original.contains(attribute)) {
      auto handle = cast<Resource>(attribute).getRawHandle();
      mlir::DenseResourceElementsHandle::getManagerInterface(attribute.getContext())
          .getBlobManager()
          .update(handle.getKey(), mlir::AsmResourceBlob());
    }
}

Error lower(mlir::ModuleOp module, const Variant &variant) {
  module->setAttr(edge::EdgeDialect::kTargetAttr, variant.attribute(module.getContext()));
  std::string said;
  mlir::ScopedDiagnosticHandler handler(module.getContext(), [&](mlir::Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
      said += (said.empty() ? "" : "; ") + diagnostic.str();
    return mlir::success();
  });
  mlir::PassManager passes(module.getContext());
  passes.addPass(createPackWeights());
  buildLowerPipeline(passes);
  if (failed(passes.run(module)))
    return createStringError(Twine("the model cannot be compiled for calibration: ") + said);
  return Error::success();
}

} // namespace

Expected<HostModel> HostModel::load(mlir::OwningOpRef<mlir::ModuleOp> module, int64_t context, unsigned threads,
                                    CodeUnit::Effort effort) {
  auto target = findTarget("host");
  if (!target)
    return target.takeError();
  const Variant &variant = *target->variants.back();
  DenseSet<mlir::Attribute> original, packed;
  collectResources<edge::WeightOp>(*module, original);
  int64_t mostPositions = 0;
  for (edge::SymbolAttr symbol : edge::symbolsOf(*module))
    if (symbol.getRole() == edge::SymbolRole::Capacity)
      mostPositions = std::clamp(context, symbol.getMin(), symbol.getMax());
  if (Error error = lower(*module, variant))
    return error;
  auto unit = CodeUnit::translate(*module, variant);
  if (!unit)
    return unit.takeError();
  unit->optimize(effort);
  auto image = unit->image();
  if (!image)
    return image.takeError();

  // Through a file like every model, so that weights are mapped, not held; it loses its name as soon as it is open.
  SmallString<128> path;
  sys::path::system_temp_directory(/*erasedOnReboot=*/true, path);
  sys::path::append(path, "edgecc-calibrate-%%%%%%%%.edge");
  SmallString<128> name;
  if (std::error_code code = sys::fs::createUniqueFile(path, name))
    return createStringError("calibration needs a file in %s: %s; choose another folder with TMPDIR",
                             sys::path::parent_path(path).str().c_str(), code.message().c_str());
  sys::RemoveFileOnSignal(name);
  scope_exit removing([&] {
    sys::fs::remove(name);
    sys::DontRemoveFileOnSignal(name);
  });
  PackageOptions packaging;
  packaging.output = name.str().str();
  packaging.alignment = target->alignment;
  auto summary = package(*module, *image, packaging);
  if (!summary)
    return summary.takeError();
  collectResources<plan::WeightOp>(*module, packed);
  module = nullptr;
  dropResources(packed, original);

  HostModel result;
  if (Status status = result.model.open(packaging.output.c_str()); !status)
    return createStringError(Twine(status.message()));
  edgecc_session_options options;
  edgecc_session_options_init(&options);
  options.threads = threads;
  options.context = mostPositions;
  if (Status status = result.session.open(result.model, &options); !status)
    return createStringError(Twine(status.message()));
  return result;
}

Error HostModel::run(function_ref<std::optional<ArrayView>(StringRef)> find) {
  edgecc_session_reset(session.handle());
  edgecc_tensor_info input;
  for (size_t i = 0; edgecc_model_input(model.handle(), 0, i, &input) == EDGECC_OK; ++i) {
    std::optional<ArrayView> array = find(input.name);
    if (!array && edgecc_model_input_is_optional(model.handle(), 0, i))
      continue;
    if (!array)
      return createStringError("there is no array for the model's input '%s'", input.name);
    Status status = Status::of([&](edgecc_error *error) {
      return edgecc_session_set_input(session.handle(), 0, i, array->type, array->shape.data(), uint32_t(array->shape.size()),
                                      array->data, error);
    });
    if (!status)
      return createStringError(Twine(status.message()));
  }
  Status status = Status::of([&](edgecc_error *error) { return edgecc_session_run(session.handle(), 0, error); });
  return status ? Error::success() : createStringError(Twine(status.message()));
}

Expected<edgecc_output> HostModel::output(size_t index) const {
  edgecc_output result;
  Status status =
      Status::of([&](edgecc_error *error) { return edgecc_session_output(session.handle(), 0, index, &result, error); });
  if (!status)
    return createStringError(Twine(status.message()));
  return result;
}

} // namespace edgecc

//===- TextSegment.cpp - The tokenizer and chat template of an artifact ------===//
#include "compiler/TextSegment.h"

#include "dialects/edge/EdgeDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;
namespace edgecc {

Error compileText(const Options &options, mlir::ModuleOp module, std::string &segment, text::TextSummary &summary,
                  function_ref<void(const Twine &)> warn) {
  if (options.tokenizer == "none")
    return Error::success();
  std::string source = options.tokenizer, fault;
  const bool isAskedFor = !source.empty();
  if (auto metadata = module->getAttrOfType<mlir::DictionaryAttr>("onnx.metadata"); metadata && source.empty())
    if (auto named = metadata.getAs<mlir::StringAttr>(kTextSource)) {
      source = named.str();
      if (!sys::fs::exists(source)) {
        warn("the checkpoint " + Twine(source) +
             " is not there any more: the artifact has no tokenizer; name one with --tokenizer");
        return Error::success();
      }
      // A directory with weights only has no text to compile.
      if (sys::fs::is_directory(source) && text::findTokenizer(source).empty())
        return Error::success();
    }
  if (source.empty())
    source = text::findTokenizer(sys::path::parent_path(options.input).str());
  if (source.empty())
    return Error::success();
  if (text::compileText(source, segment, summary, fault))
    return Error::success();
  if (isAskedFor)
    return createStringError(fault);
  segment.clear();
  summary = {};
  warn(fault + "; the artifact has no tokenizer (--tokenizer=none says so without this warning)");
  return Error::success();
}

Error checkVocabulary(const text::TextSummary &summary, mlir::ModuleOp module) {
  auto main = module.lookupSymbol<mlir::func::FuncOp>("main");
  if (!main || summary.vocabulary == 0)
    return Error::success();
  for (auto [i, type] : llvm::enumerate(main.getResultTypes())) {
    auto name = main.getResultAttrOfType<mlir::StringAttr>(i, edge::EdgeDialect::kNameAttr);
    auto tensor = dyn_cast<mlir::RankedTensorType>(type);
    if (!name || name != "logits" || !tensor || tensor.getRank() < 2 || tensor.isDynamicDim(tensor.getRank() - 1))
      continue;
    const int64_t vocabulary = tensor.getShape().back();
    // A classifier has few logits, and no text comes out of it.
    if (tensor.getRank() >= 3 && vocabulary < int64_t(summary.vocabulary))
      return createStringError(
          "the tokenizer %s has %u tokens, but the model's logits only %lld: it belongs to another model; name the "
          "right one with --tokenizer, or leave it out with --tokenizer=none",
          summary.tokenizer.c_str(), summary.vocabulary, static_cast<long long>(vocabulary));
  }
  return Error::success();
}

} // namespace edgecc

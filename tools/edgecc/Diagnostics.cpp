//===- Diagnostics.cpp ------------------------------------------------------------===//
#include "tools/edgecc/Diagnostics.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
namespace edgecc {

/// "/layer.0/MatMul: ", "model.mlir:3:5: ", or nothing.
static std::string place(Location location) {
  std::string text;
  location->walk([&](Location part) {
    if (auto name = dyn_cast<NameLoc>(part)) {
      text = name.getName().str();
      return WalkResult::interrupt();
    }
    if (auto file = dyn_cast<FileLineColLoc>(part); file && text.empty())
      text = (file.getFilename().getValue() + ":" + llvm::Twine(file.getLine()) + ":" + llvm::Twine(file.getColumn())).str();
    return WalkResult::advance();
  });
  return text.empty() ? text : text + ": ";
}

DiagnosticPrinter::DiagnosticPrinter(StringRef program, MLIRContext &context, bool showRemarks)
    : program(program), showRemarks(showRemarks),
      handler(&context, [this](Diagnostic &diagnostic) { return handle(diagnostic); }) {}

LogicalResult DiagnosticPrinter::handle(Diagnostic &diagnostic) {
  std::lock_guard<std::mutex> lock(mutex);
  std::string where = place(diagnostic.getLocation()), text = diagnostic.str();
  // What names its node in full does not need it twice: "/layer.0/MatMul (MatMul): ...".
  bool isNamed = !where.empty() && StringRef(text).starts_with(StringRef(where).drop_back(2));
  std::string line = isNamed ? text : where + text;
  const char *kind = "note";
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    kind = "error";
    ++errorCount;
    break;
  case DiagnosticSeverity::Warning: kind = "warning"; break;
  case DiagnosticSeverity::Remark:
    kept.push_back(line);
    if (!showRemarks)
      return success();
    kind = "remark";
    break;
  case DiagnosticSeverity::Note: break;
  }
  llvm::errs() << program << ": " << kind << ": " << line << "\n";
  for (Diagnostic &note : diagnostic.getNotes())
    llvm::errs() << program << ": note: " << place(note.getLocation()) << note.str() << "\n";
  return success();
}

} // namespace edgecc

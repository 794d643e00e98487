//===- Repro.cpp --------------------------------------------------------------===//
#include "compiler/diff/Repro.h"
#include "compiler/calibrate/Segment.h"
#include "compiler/package/ArtifactFile.h"
#include "dialects/edge/EdgeDialect.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;
namespace edgecc {

static arrays::Array copyOf(const edgecc_output &output) {
  const auto *data = static_cast<const uint8_t *>(output.data);
  return {output.type, {output.shape, output.shape + output.rank}, {data, data + output.bytes}};
}

/// What `op` reads that somebody computed.
static SmallVector<mlir::Value> inputsOf(mlir::Operation *op) {
  SmallVector<mlir::Value> inputs;
  for (mlir::Value operand : op->getOperands()) {
    while (auto reshape = operand.getDefiningOp<edge::ReshapeOp>())
      operand = reshape.getInput();
    mlir::Operation *maker = operand.getDefiningOp();
    // Rows of a state are written again from what they were; the state is the session's.
    if (auto append = dyn_cast_or_null<edge::AppendOp>(maker)) {
      operand = append.getRows();
      maker = operand.getDefiningOp();
    }
    bool isComputed = maker && maker->getNumOperands() && isa<mlir::RankedTensorType>(operand.getType());
    if (isComputed && !is_contained(inputs, operand))
      inputs.push_back(operand);
  }
  return inputs;
}

Expected<std::vector<std::string>> writeRepro(StringRef folder, mlir::Operation *op, HostCalibrator &calibrator) {
  if (std::error_code code = sys::fs::create_directories(folder))
    return createStringError("--repro %s: %s", folder.str().c_str(), code.message().c_str());
  auto function = op->getParentOfType<mlir::func::FuncOp>();
  SmallVector<mlir::Value> begins = inputsOf(op), wanted = begins;
  for (mlir::BlockArgument argument : function.getArguments())
    if (!function.getArgAttr(argument.getArgNumber(), edge::EdgeDialect::kStateAttr))
      wanted.push_back(argument);
  wanted.push_back(op->getResult(0));
  std::map<std::string, arrays::Array> inputs, outputs;
  Error error = calibrator.run("reproducing", function, wanted, [&](size_t sample, ArrayRef<edgecc_output> values) {
    if (sample > 0)
      return Error::success();
    for (auto [i, value] : enumerate(values)) {
      mlir::Value source = wanted[i];
      if (i < begins.size())
        inputs[(kBeginName + Twine(i)).str()] = copyOf(value);
      else if (auto argument = dyn_cast<mlir::BlockArgument>(source))
        inputs[function.getArgAttrOfType<mlir::StringAttr>(argument.getArgNumber(), edge::EdgeDialect::kNameAttr).str()] =
            copyOf(value);
      else
        outputs["end0"] = copyOf(value);
    }
    return Error::success();
  });
  if (error)
    return error;

  auto path = [&](const char *name) {
    SmallString<128> whole(folder);
    sys::path::append(whole, name);
    return whole.str().str();
  };
  std::vector<std::string> files{path("piece.mlir"), path("inputs.npz"), path("outputs.npz")};
  std::string text;
  raw_string_ostream(text) << *cutSegment(function, begins, op->getResult(0));
  if (Error error = writeWholeFile(files[0], text))
    return error;
  for (auto [file, arrays] : {std::pair(files[1], &inputs), {files[2], &outputs}})
    if (std::string fault = arrays::writeNpz(file, *arrays); !fault.empty())
      return createStringError(Twine("--repro ") + fault);
  return files;
}

} // namespace edgecc

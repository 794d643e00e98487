//===- Repro.cpp --------------------------------------------------------------===//
#include "compiler/diff/Repro.h"
#include "compiler/calibrate/HostCalibrator.h"
#include "compiler/calibrate/Segment.h"
#include "compiler/package/ArtifactFile.h"
#include "dialects/edge/EdgeDialect.h"
#include "passes/quantize/Tensors.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include <deque>

using namespace llvm;
namespace edgecc {
namespace {

arrays::Array copyOf(const edgecc_output &output) {
  const auto *data = static_cast<const uint8_t *>(output.data);
  return {output.type, {output.shape, output.shape + output.rank}, {data, data + output.bytes}};
}

/// Cut out of both models.
struct Piece {
  SmallVector<mlir::Value> begins;
  mlir::OwningOpRef<mlir::ModuleOp> after;
  Sample inputs;
  arrays::Array expected;
  unsigned layers = 0;
  Difference error;
};

class Reproduction {
public:
  explicit Reproduction(const ReproRequest &request)
      : request(request), function(request.departed.getDefiningOp()->getParentOfType<mlir::func::FuncOp>()),
        right(request.reference.lookup(request.departed)),
        original(right.getDefiningOp()->getParentOfType<mlir::func::FuncOp>()) {}

  Expected<Piece> smallest();
  Error write(StringRef folder, const Piece &piece, std::vector<std::string> &files);

private:
  bool isKnown(mlir::Value value) const {
    mlir::Value other = request.reference.lookup(value);
    auto type = dyn_cast<mlir::RankedTensorType>(value.getType());
    return other && type && type.getRank() > 0 && other.getType() == type;
  }
  void cut(unsigned depth, Piece &piece);
  Error run(Piece &piece);

  const ReproRequest &request;
  mlir::func::FuncOp function;
  mlir::Value right;
  mlir::func::FuncOp original;
};

/// Known values that many layers in front of the departed one, on each path.
void Reproduction::cut(unsigned depth, Piece &piece) {
  std::deque<std::pair<mlir::Value, unsigned>> queue{{request.departed, 0}};
  DenseSet<mlir::Value> seen;
  while (!queue.empty()) {
    auto [value, layers] = queue.front();
    queue.pop_front();
    mlir::Operation *maker = value.getDefiningOp();
    if (!maker || !seen.insert(value).second)
      continue;
    bool known = isKnown(value);
    if (known && layers >= depth) {
      piece.begins.push_back(value);
      continue;
    }
    piece.layers += known;
    maker->walk([&](mlir::Operation *inner) {
      for (mlir::Value operand : inner->getOperands())
        if (operand.getParentBlock() == maker->getBlock())
          known ? queue.emplace_back(operand, layers + 1) : queue.emplace_front(operand, layers);
    });
  }
  piece.after = cutSegment(function, piece.begins, request.departed);
}

Error Reproduction::run(Piece &piece) {
  for (mlir::BlockArgument argument : function.getArguments())
    if (auto name = function.getArgAttrOfType<mlir::StringAttr>(argument.getArgNumber(), edge::EdgeDialect::kNameAttr))
      if (auto found = request.sample.find(name.str()); found != request.sample.end())
        piece.inputs.insert(*found);
  SmallVector<mlir::Value> wanted =
      map_to_vector(piece.begins, [&](mlir::Value value) { return request.reference.lookup(value); });
  wanted.push_back(right);
  HostCalibrator reference({request.sample}, request.threads, request.progress);
  Error error = reference.run("reproducing", original, wanted, [&](size_t, ArrayRef<edgecc_output> outputs) {
    for (auto [i, output] : enumerate(outputs.drop_back()))
      piece.inputs[(kBeginName + Twine(i)).str()] = copyOf(output);
    piece.expected = request.expected ? *request.expected : copyOf(outputs.back());
    return Error::success();
  });
  if (error)
    return error;

  auto main = piece.after->lookupSymbol<mlir::func::FuncOp>("main");
  HostCalibrator alone({piece.inputs}, request.threads, request.progress);
  std::vector<float> memory;
  ArrayRef<float> expected = asFloats(piece.expected.type, piece.expected.bytes.data(), piece.expected.bytes.size(), memory);
  return alone.observe("reproducing", main.front().getTerminator()->getOperand(0), [&](size_t, ArrayRef<Observed> observed) {
    DifferenceSum sum;
    sum.add(observed[0].data, expected);
    piece.error = sum.result();
    return Error::success();
  });
}

Expected<Piece> Reproduction::smallest() {
  for (unsigned depth = 1;; depth *= 2) {
    Piece piece;
    cut(depth, piece);
    if (Error error = run(piece))
      return error;
    if (!(piece.error.relative <= request.tolerance) || piece.begins.empty())
      return piece;
  }
}

Error Reproduction::write(StringRef folder, const Piece &piece, std::vector<std::string> &files) {
  auto add = [&](const char *name) {
    SmallString<128> path(folder);
    sys::path::append(path, name);
    files.push_back(name);
    return path.str().str();
  };
  // With locations: they have the names of the nodes.
  auto text = [](mlir::ModuleOp module) {
    std::string text;
    raw_string_ostream stream(text);
    module->print(stream, mlir::OpPrintingFlags().enableDebugInfo(true));
    return text;
  };
  if (right != request.departed) {
    SmallVector<mlir::Value> begins =
        map_to_vector(piece.begins, [&](mlir::Value value) { return request.reference.lookup(value); });
    if (Error error = writeWholeFile(add("before.mlir"), text(*cutSegment(original, begins, right))))
      return error;
  }
  mlir::ModuleOp after = *const_cast<Piece &>(piece).after;
  if (Error error = writeWholeFile(add("after.mlir"), text(after)))
    return error;
  for (auto [name, arrays] : {std::pair("inputs.npz", piece.inputs),
                              {"expected.npz", Sample{{layerName(request.departed.getDefiningOp()).str(), piece.expected}}}})
    if (std::string fault = arrays::writeNpz(add(name), arrays); !fault.empty())
      return createStringError(Twine("--repro ") + fault);
  return Error::success();
}

} // namespace

Expected<Repro> writeRepro(const ReproRequest &request) {
  Reproduction reproduction(request);
  auto piece = reproduction.smallest();
  if (!piece)
    return piece.takeError();
  Repro repro;
  const std::string partial = (request.folder + "." + Twine(sys::Process::getProcessId()) + ".partial").str();
  auto fail = [&](std::error_code code) {
    return createStringError("--repro %s: %s", request.folder.c_str(), code.message().c_str());
  };
  if (std::error_code code = sys::fs::create_directories(partial))
    return fail(code);
  Error error = reproduction.write(partial, *piece, repro.files);
  if (!error)
    if (std::error_code code = sys::fs::rename(partial, request.folder))
      error = fail(code);
  if (error) {
    sys::fs::remove_directories(partial);
    return error;
  }
  auto path = [&](StringRef name) {
    SmallString<128> whole(request.folder);
    sys::path::append(whole, name);
    return whole.str().str();
  };
  for (std::string &file : repro.files)
    file = path(file);
  repro.layers = piece->layers;
  repro.error = piece->error;
  raw_string_ostream(repro.command) << "edgecc-diff " << path("after.mlir") << " --inputs " << path("inputs.npz")
                                    << " --reference " << path("expected.npz") << format(" --tolerance=%g", request.tolerance);
  return repro;
}

} // namespace edgecc

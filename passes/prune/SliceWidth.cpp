//===- SliceWidth.cpp - A narrower residual stream --------------------------===//
//
// All layers read one sum and add to it. Turned so that its directions are sorted by what they carry, it loses the last of them:
// the table of tokens, all that write to the sum and all that read it become smaller at once (SliceGPT, Ashkboos 2024). One basis
// serves the whole stream, so that nothing is added between layers. What a layer reads and what it writes is then fitted, layer
// after layer, to what the whole model has there.
//
//===----------------------------------------------------------------------===//
#include "passes/prune/SliceWidth.h"
#include "dialects/edge/Shape.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/Matrices.h"
#include "passes/prune/Reference.h"
#include "passes/prune/Sharing.h"
#include "passes/prune/StreamPlaces.h"
#include "passes/prune/Subspace.h"
#include "passes/prune/Sweep.h"

using namespace mlir;
using namespace Eigen;
namespace edgecc {
#define GEN_PASS_DEF_SLICEWIDTH
#include "passes/Passes.h.inc"

using namespace prune;

namespace {

/// Whole panels of outputs, and where there is enough of it whole groups of quantized inputs.
int64_t roundOf(int64_t width) { return width < 256 ? 16 : 32; }

/// A place where the stream is read.
struct Place : StreamPlace {
  MatrixXf map; ///< from what is read of the sliced stream to what was read of the whole one
};

class Slicing {
public:
  Slicing(ModuleOp module, func::FuncOp main, ResidualStream stream, int64_t kept, Calibrator *calibrator)
      : module(module), main(main), stream(std::move(stream)), kept(kept), calibrator(calibrator) {}

  llvm::Error run(Importance importance, Compensation compensation) {
    putBasesBeforeHeads();
    std::vector<StreamPlace> found = placesOf(stream);
    auto chosen = chooseBasis(stream, found, importance, kept, calibrator);
    if (!chosen)
      return chosen.takeError();
    basis = std::move(*chosen);
    for (StreamPlace &place : found)
      places.push_back({std::move(place), {}});
    if (calibrator)
      whole.emplace(main, stream.lookup);
    if (llvm::Error error = narrow(compensation))
      return error;
    if (llvm::Error error = fitAll(compensation))
      return error;
    if (calibrator) {
      calibrator->restart();
      whole->remove();
    }
    addToLedger(module, ledger);
    eraseUnreadWeights(main);
    return llvm::Error::success();
  }

private:
  /// A table that is the head's weight, too, stays one: its basis is changed in front of the head.
  void putBasesBeforeHeads() {
    for (ResidualStream::Reader &reader : stream.readers) {
      edge::LinearOp head = reader.linear;
      if (!stream.isTied(head))
        continue;
      OpBuilder builder(head);
      edge::WeightOp table = weightBehind(head.getWeight());
      MatrixXf identity = MatrixXf::Identity(stream.width, stream.width);
      auto type = RankedTensorType::get({stream.width, stream.width}, head.getWeight().getType().getElementType());
      auto values = cast<DenseElementsAttr>(vectorOf(identity.reshaped(), type.getElementType())).reshape(type);
      auto weight =
          edge::WeightOp::create(builder, table.getLoc(), type, builder.getStringAttr(table.getName() + ".basis"), values);
      auto basis = edge::LinearOp::create(builder, head.getLoc(), head.getInput().getType(), head.getInput(), weight);
      head.getInputMutable().assign(basis);
      reader.linear = basis;
      stream.heads.push_back(head);
      stream.writers.push_back({basis, {}});
      stream.values.push_back(basis);
    }
  }

  /// The linear reads `map` of what its place gives.
  llvm::Error setReader(edge::LinearOp reader, const MatrixXf &map) {
    Operation *before = reader;
    if (whole)
      before = whole->of(before);
    FloatWeight from = *floatWeight(before);
    auto weight = turnInputs(from, map, files);
    if (weight && isBasis(reader))
      weight = turnOutputs(FloatWeight{*weight, from.n, kept, from.rowsOfK}, headBasis, files);
    if (!weight)
      return weight.takeError();
    reader.getWeightMutable().assign(weight->getResult());
    return llvm::Error::success();
  }

  llvm::Error setWriter(edge::LinearOp writer, const MatrixXf &turn) {
    auto weight = turnOutputs(*floatWeight(writer), turn, files);
    if (!weight)
      return weight.takeError();
    writer.getWeightMutable().assign(weight->getResult());
    return llvm::Error::success();
  }

  llvm::Error narrow(Compensation compensation) {
    headBasis = basis;
    if (!stream.heads.empty() && compensation == Compensation::LeastSquares) {
      // What the head's table says of the directions that it loses, as far as those that it keeps can say it.
      MatrixXd turn = basis.cast<double>(), gram = gramOf(*floatWeight(stream.lookup)) * turn, inside = turn.transpose() * gram;
      headBasis += divided(gram - turn * inside, inside).cast<float>();
    }
    for (Place &place : places) {
      place.map = place.scale.asDiagonal() * basis;
      if (place.norm) {
        // The mean is over fewer channels, which have the same length.
        double ratio = double(stream.width) / double(kept);
        place.map *= float(std::sqrt(ratio));
        place.norm.setEpsilon(llvm::APFloat(float(place.norm.getEpsilon().convertToDouble() * ratio)));
      }
      for (edge::LinearOp reader : place.readers)
        if (llvm::Error error = setReader(reader, place.map))
          return error;
    }
    for (auto &[writer, sum] : stream.writers)
      if (sum)
        if (llvm::Error error = setWriter(writer, basis))
          return error;
    auto table = turnInputs(*floatWeight(stream.lookup), basis, files);
    if (!table)
      return table.takeError();
    reportTable(*floatWeight(stream.lookup), *table);
    stream.lookup.getTableMutable().assign(table->getResult());
    for (edge::LinearOp head : stream.heads)
      head.getWeightMutable().assign(table->getResult());
    for (edge::RmsNormOp norm : stream.norms)
      if (norm.getScale())
        setVector(norm.getScaleMutable()[0], VectorXf::Ones(kept));
    for (OpOperand *bias : stream.biases)
      setVector(*bias, basis.transpose() * *readVector(bias->get()));
    for (Value value : stream.values)
      setType(value, withChannels(value.getType(), kept));
    return llvm::Error::success();
  }

  void setVector(OpOperand &operand, const VectorXf &values) {
    auto type = cast<RankedTensorType>(operand.get().getType());
    setConstant(operand, vectorOf(values, type.getElementType()), withChannels(type, kept));
  }

  llvm::Error fitAll(Compensation compensation) {
    // In the model's order: each sees what those before it became.
    auto place = places.begin();
    SmallVector<ResidualStream::Writer> writers;
    llvm::copy_if(stream.writers, std::back_inserter(writers), [](auto &writer) { return bool(writer.sum); });
    llvm::sort(writers, [](ResidualStream::Writer a, ResidualStream::Writer b) { return a.linear->isBeforeInBlock(b.linear); });
    auto fitPlaces = [&](Operation *until) -> llvm::Error {
      for (; place != places.end() && (!until || place->start()->isBeforeInBlock(until)); ++place)
        if (llvm::Error error = fitPlace(*place, compensation))
          return error;
      return llvm::Error::success();
    };
    for (ResidualStream::Writer &writer : writers) {
      if (llvm::Error error = fitPlaces(writer.linear))
        return error;
      if (llvm::Error error = fitWriter(writer, compensation))
        return error;
    }
    return fitPlaces(nullptr);
  }

  llvm::Error fitPlace(Place &place, Compensation compensation) {
    StringRef what = place.readers.size() > 1 ? "read" : "reads";
    if (!calibrator) {
      report(place.readers, what, -1, -1);
      return llvm::Error::success();
    }
    if (llvm::Error error = calibrator->advanceTo(place.start()))
      return error;
    Value before = whole->of(place.input);
    edge::RmsNormOp norm = place.norm;
    if (norm && compensation != Compensation::None) {
      // What the lost directions have on average is still a part of the length.
      double lost = 0;
      int64_t tokens = 0;
      auto add = [&](size_t, ArrayRef<Observed> observed) {
        RowMatrix rows = tokenRows(observed[0]);
        tokens += rows.rows();
        lost += rows.cast<double>().squaredNorm() - tokenRows(observed[1]).cast<double>().squaredNorm();
        return llvm::Error::success();
      };
      if (llvm::Error error = calibrator->gather("slicing", {before, place.input}, "lost length of a stream",
                                                 [&](Archive &archive) { archive(lost, tokens); }, add))
        return error;
      lost = std::max(0.0, lost) / double(std::max<int64_t>(1, tokens) * kept);
      norm.setEpsilon(llvm::APFloat(float(norm.getEpsilon().convertToDouble() + lost)));
    }
    SmallVector<Value> values{place.input, norm ? whole->of(norm.getResult()) : before};
    auto fitted = fit(values, place.map, place.epsilon(), compensation, [&](ArrayRef<Observed> observed) {
      return std::make_pair(place.readBy(observed[0]), tokenRows(observed[1]));
    });
    if (!fitted)
      return fitted.takeError();
    place.map = std::move(fitted->map);
    if (compensation == Compensation::LeastSquares)
      for (edge::LinearOp reader : place.readers)
        if (llvm::Error error = setReader(reader, place.map))
          return error;
    report(place.readers, what, fitted->errorBefore, fitted->error);
    return llvm::Error::success();
  }

  llvm::Error fitWriter(ResidualStream::Writer writer, Compensation compensation) {
    edge::LinearOp linear = writer.linear;
    if (!calibrator) {
      report(linear, "writes to", -1, -1);
      return llvm::Error::success();
    }
    if (llvm::Error error = calibrator->advanceTo(linear))
      return error;
    SmallVector<Value> values{linear.getInput(), linear.getResult(), writer.sum, whole->of(writer.sum)};
    auto fitted = fit(values, readWeight(linear), 0, compensation, [&](ArrayRef<Observed> observed) {
      // What the layer would have to write for the stream to be right.
      RowMatrix wanted = tokenRows(observed[3]) * basis - tokenRows(observed[2]) + tokenRows(observed[1]);
      return std::make_pair(tokenRows(observed[0]), wanted);
    });
    if (!fitted)
      return fitted.takeError();
    if (compensation == Compensation::LeastSquares) {
      auto weight = weightLike(linear, RowMatrix(fitted->map));
      if (!weight)
        return weight.takeError();
      setWeight(linear, *weight);
    }
    report(linear, "writes to", fitted->errorBefore, fitted->error);
    return llvm::Error::success();
  }

  struct Fitted {
    MatrixXf map;
    double errorBefore = 0, error = 0; ///< relative
  };

  /// The map that `compensation` makes of `start`, for the inputs and outputs that `pairOf` takes from `values`. Kept from
  /// compile to compile is the map: the moments of its inputs are larger.
  llvm::Expected<Fitted> fit(ArrayRef<Value> values, MatrixXf start, double epsilon, Compensation compensation,
                             llvm::function_ref<std::pair<RowMatrix, RowMatrix>(ArrayRef<Observed>)> pairOf) {
    Fitted fitted{start};
    auto work = [&]() -> llvm::Error {
      LinearFit sums;
      auto add = [&](size_t, ArrayRef<Observed> observed) {
        auto [x, y] = pairOf(observed);
        sums.add(x, y);
        return llvm::Error::success();
      };
      if (llvm::Error error = calibrator->observe("slicing", values, add))
        return error;
      if (compensation == Compensation::LeastSquares)
        fitted.map = sums.solve(start);
      fitted.errorBefore = sums.error(start);
      fitted.error = sums.error(fitted.map);
      return llvm::Error::success();
    };
    // What is not a part of what is observed.
    int how = int(compensation);
    Archive asked;
    asked(start, basis, epsilon, how);
    if (llvm::Error error =
            calibrator->remember("fit to the whole stream " + asked.digest(), calibrator->identify(values),
                                 [&](Archive &archive) { archive(fitted.map, fitted.errorBefore, fitted.error); }, work))
      return error;
    return fitted;
  }

  /// Its error is that of its rows.
  void reportTable(const FloatWeight &before, edge::WeightOp after) {
    MatrixXd gram = gramOf(before), turn = basis.cast<double>();
    LedgerEntry entry;
    entry.weight = after.getName().str();
    StringRef name = nameOf(stream.lookup);
    entry.layer = name.empty() ? entry.weight : name.str();
    entry.scheme = scheme();
    entry.after = plainBytes(after);
    entry.before = entry.after / kept * stream.width;
    entry.error =
        std::sqrt(std::max(0.0, gram.trace() - (turn.transpose() * gram * turn).trace()) / std::max(gram.trace(), 1e-30));
    entry.decibels = -20 * std::log10(std::max(entry.error, 1e-9));
    stream.lookup->emitRemark() << "'" << entry.layer << "': " << kept << " of " << stream.width
                                << " channels of the stream that starts here are left, " << entry.before << " to " << entry.after
                                << " bytes, relative error " << shortText(entry.error);
    ledger.push_back(std::move(entry));
  }

  std::string scheme() const { return "pruned width " + std::to_string(stream.width) + " to " + std::to_string(kept); }

  bool isBasis(edge::LinearOp linear) const {
    return llvm::any_of(stream.writers, [&](auto &writer) { return writer.linear == linear && !writer.sum; });
  }

  /// `plain` and `fitted` are relative errors; below 0 if there were no samples.
  void report(ArrayRef<edge::LinearOp> linears, StringRef what, double plain, double fitted) {
    edge::LinearOp first = linears.front();
    LedgerEntry entry;
    entry.weight = weightBehind(first.getWeight()).getName().str();
    entry.layer = nameOf(first).str();
    for (edge::LinearOp linear : linears) {
      int64_t bytes = plainBytes(linear.getWeight());
      entry.after += bytes;
      // The basis in front of a head was not there before.
      entry.before += isBasis(linear) ? 0 : bytes / kept * stream.width;
    }
    entry.scheme = scheme();
    InFlightDiagnostic remark = first->emitRemark();
    remark << "'" << entry.layer << "'";
    if (linears.size() > 1)
      remark << " and " << linears.size() - 1 << " more";
    remark << ": " << kept << " of " << stream.width << " channels of the stream that " << (linears.size() > 1 ? "they " : "it ")
           << what << " are left, " << entry.before << " to " << entry.after << " bytes";
    if (fitted >= 0) {
      entry.error = fitted;
      entry.decibels = -20 * std::log10(std::max(fitted, 1e-9));
      entry.figures["error_uncompensated"] = plain;
      remark << ", relative error " << shortText(plain) << ", compensated " << shortText(fitted);
    }
    ledger.push_back(std::move(entry));
  }

  ModuleOp module;
  func::FuncOp main;
  ResidualStream stream;
  int64_t kept;
  Calibrator *calibrator;
  const FileMappings files;
  std::vector<Place> places; // in the model's order
  MatrixXf basis, headBasis; // [width, kept]
  std::optional<Reference> whole;
  std::vector<LedgerEntry> ledger;
};

struct SliceWidth : impl::SliceWidthBase<SliceWidth> {
  using SliceWidthBase::SliceWidthBase;
  SliceWidth(const SliceWidthOptions &options, Calibrator *calibrator) : SliceWidthBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    if (failed(reported(getOperation(), run(), "pruning the width: ")))
      signalPassFailure();
  }

private:
  llvm::Error run() {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main)
      return llvm::createStringError("there is no function 'main'");
    // What may be said is the same for all kinds of parts.
    if (auto checked = Sweep::create({importance, compensation, "even", share}, calibrator); !checked)
      return checked.takeError();
    auto stream = findResidualStream(main);
    if (!stream)
      return stream.takeError();
    auto kept = keptWidth(*stream, share);
    if (!kept)
      return kept.takeError();
    return Slicing(getOperation(), main, std::move(*stream), *kept, calibrator)
        .run(*importanceOf(importance), *compensationOf(compensation));
  }

  Calibrator *calibrator = nullptr;
};

} // namespace

llvm::Expected<int64_t> keptWidth(const ResidualStream &stream, double share) {
  const int64_t width = stream.width, round = roundOf(width);
  const int64_t floor = llvm::alignTo(llvm::divideCeil(width, 4), round);
  const int64_t kept = std::llround((1 - share) * double(width) / double(round)) * round;
  if (share > 0 && share < 1 && kept < width && kept >= floor)
    return kept;
  return llvm::createStringError("the residual stream of " + std::to_string(width) + " channels can become " +
                                 std::to_string(floor) + " to " + std::to_string((width - 1) / round * round) + ", in steps of " +
                                 std::to_string(round) + "; a share of " + shortText(share) + " is not among them");
}

std::unique_ptr<Pass> createSliceWidth(const SliceWidthOptions &options, Calibrator *calibrator) {
  return std::make_unique<SliceWidth>(options, calibrator);
}

} // namespace edgecc

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
#include "passes/prune/Subspace.h"
#include "passes/prune/Sweep.h"
#include "passes/quantize/ResidualStream.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace Eigen;
namespace edgecc {
#define GEN_PASS_DEF_SLICEWIDTH
#include "passes/Passes.h.inc"

using namespace prune;

namespace {

/// Second moments of several places that are held at the same time.
constexpr int64_t kMemory = int64_t(1) << 30;

/// Whole panels of outputs, and where there is enough of it whole groups of quantized inputs.
int64_t roundOf(int64_t width) { return width < 256 ? 16 : 32; }

/// A place where the stream is read.
struct Place {
  Value input; ///< the stream
  edge::RmsNormOp norm;
  SmallVector<edge::LinearOp> readers;
  VectorXf scale;
  MatrixXf map; ///< from what is read of the sliced stream to what was read of the whole one

  Operation *start() const {
    edge::RmsNormOp before = norm;
    edge::LinearOp first = readers.front();
    return before ? before.getOperation() : first.getOperation();
  }
};

/// Rows as a norm gives them, without its scale.
RowMatrix normalized(RowMatrix rows, double epsilon) {
  VectorXf factors = (rows.rowwise().squaredNorm().array() / float(rows.cols()) + float(epsilon)).rsqrt();
  return factors.asDiagonal() * rows;
}

RowMatrix readBy(const Place &place, const Observed &stream) {
  edge::RmsNormOp norm = place.norm;
  return norm ? normalized(tokenRows(stream), norm.getEpsilon().convertToDouble()) : tokenRows(stream);
}

/// W^T W
MatrixXd gramOf(const FloatWeight &weight) {
  constexpr int64_t kRows = 512;
  MatrixXd sum = MatrixXd::Zero(weight.k, weight.k);
  for (int64_t first = 0; first < weight.n; first += kRows) {
    RowMatrix rows = readChannels(weight, first, std::min(weight.n, first + kRows));
    sum += (rows.transpose() * rows).cast<double>();
  }
  return sum;
}

MatrixXd gramOf(const Place &place) {
  MatrixXd sum = MatrixXd::Zero(place.scale.size(), place.scale.size());
  for (edge::LinearOp reader : place.readers)
    sum += gramOf(*floatWeight(reader));
  VectorXd scale = place.scale.cast<double>();
  return scale.asDiagonal() * sum * scale.asDiagonal();
}

class Slicing {
public:
  Slicing(ModuleOp module, func::FuncOp main, ResidualStream stream, int64_t kept, Calibrator *calibrator)
      : module(module), main(main), stream(std::move(stream)), kept(kept), calibrator(calibrator) {}

  llvm::Error run(Importance importance, Compensation compensation) {
    putBasesBeforeHeads();
    findPlaces();
    if (llvm::Error error = chooseBasis(importance))
      return error;
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

  void findPlaces() {
    llvm::MapVector<Value, Place> byInput;
    for (const ResidualStream::Reader &reader : stream.readers) {
      edge::LinearOp linear = reader.linear;
      edge::RmsNormOp norm = reader.norm;
      Place &place = byInput[linear.getInput()];
      place.input = norm ? norm.getInput() : linear.getInput();
      place.norm = norm;
      place.scale = reader.scale();
      place.readers.push_back(linear);
    }
    for (auto &[input, place] : byInput)
      places.push_back(std::move(place));
    llvm::sort(places, [](const Place &a, const Place &b) { return a.start()->isBeforeInBlock(b.start()); });
    for (Place &place : places)
      llvm::sort(place.readers, [](edge::LinearOp a, edge::LinearOp b) { return a->isBeforeInBlock(b); });
  }

  llvm::Error chooseBasis(Importance importance) {
    if (importance == Importance::Magnitude) {
      VectorXd read = VectorXd::Zero(stream.width), written = gramOf(*floatWeight(stream.lookup)).diagonal();
      for (const Place &place : places)
        read += gramOf(place).diagonal();
      for (auto &[writer, sum] : stream.writers)
        if (sum)
          written += readWeight(writer).rowwise().squaredNorm().cast<double>();
      basis = largestAxes(read.cwiseProduct(written), kept);
      return llvm::Error::success();
    }
    // A direction is worth what it carries; each place counts the same.
    MatrixXd worth = MatrixXd::Zero(stream.width, stream.width);
    const int64_t atOnce = std::max<int64_t>(1, kMemory / (stream.width * stream.width * int64_t(sizeof(float))));
    for (size_t first = 0; first < places.size(); first += atOnce) {
      auto some = MutableArrayRef(places).slice(first).take_front(atOnce);
      std::vector<InputMoments> moments(some.size());
      SmallVector<Value> values;
      for (const Place &place : some)
        values.push_back(place.input);
      llvm::Error error = calibrator->observe("weighing the stream", values, [&](size_t, ArrayRef<Observed> observed) {
        for (auto [place, moment, value] : llvm::zip(some, moments, observed)) {
          RowMatrix rows = readBy(place, value);
          int64_t shape[] = {rows.rows(), rows.cols()};
          moment.add(Observed{shape, ArrayRef(rows.data(), rows.size()), {}});
        }
        return llvm::Error::success();
      });
      if (error)
        return error;
      for (auto [place, moment] : llvm::zip(some, moments)) {
        MatrixXd carried = moment.matrix(/*centred=*/importance == Importance::Fluctuation);
        // Channels that are kept as they are count by what their readers make of them.
        if (importance != Importance::Surgeon) {
          VectorXd counted = carried.diagonal().cwiseProduct(gramOf(place).diagonal());
          carried = counted.asDiagonal();
        }
        worth += carried / std::max(carried.trace(), 1e-30);
      }
    }
    basis = importance == Importance::Surgeon ? largestDirections(worth, kept) : largestAxes(worth.diagonal(), kept);
    return llvm::Error::success();
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
      llvm::Error error = calibrator->observe("slicing", {before, place.input}, [&](size_t, ArrayRef<Observed> observed) {
        RowMatrix rows = tokenRows(observed[0]);
        tokens += rows.rows();
        lost += rows.cast<double>().squaredNorm() - tokenRows(observed[1]).cast<double>().squaredNorm();
        return llvm::Error::success();
      });
      if (error)
        return error;
      lost = std::max(0.0, lost) / double(std::max<int64_t>(1, tokens) * kept);
      norm.setEpsilon(llvm::APFloat(float(norm.getEpsilon().convertToDouble() + lost)));
    }
    LinearFit fit;
    Value target = norm ? whole->of(norm.getResult()) : before;
    llvm::Error error = calibrator->observe("slicing", {place.input, target}, [&](size_t, ArrayRef<Observed> observed) {
      fit.add(readBy(place, observed[0]), tokenRows(observed[1]));
      return llvm::Error::success();
    });
    if (error)
      return error;
    MatrixXf plain = place.map;
    if (compensation == Compensation::LeastSquares) {
      place.map = fit.solve(plain);
      for (edge::LinearOp reader : place.readers)
        if (llvm::Error error = setReader(reader, place.map))
          return error;
    }
    report(place.readers, what, fit.error(plain), fit.error(place.map));
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
    LinearFit fit;
    SmallVector<Value> values{linear.getInput(), linear.getResult(), writer.sum, whole->of(writer.sum)};
    llvm::Error error = calibrator->observe("slicing", values, [&](size_t, ArrayRef<Observed> observed) {
      // What the layer would have to write for the stream to be right.
      RowMatrix wanted = tokenRows(observed[3]) * basis - tokenRows(observed[2]) + tokenRows(observed[1]);
      fit.add(tokenRows(observed[0]), wanted);
      return llvm::Error::success();
    });
    if (error)
      return error;
    MatrixXf plain = readWeight(linear), map = plain;
    if (compensation == Compensation::LeastSquares) {
      map = fit.solve(plain);
      auto weight = weightLike(linear, map);
      if (!weight)
        return weight.takeError();
      setWeight(linear, *weight);
    }
    report(linear, "writes to", fit.error(plain), fit.error(map));
    return llvm::Error::success();
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
    if (llvm::Error error = run()) {
      getOperation().emitError() << "pruning the width: " << llvm::toString(std::move(error));
      signalPassFailure();
    }
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

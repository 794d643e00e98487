//===- StreamPlaces.cpp -----------------------------------------------------===//
#include "passes/prune/StreamPlaces.h"
#include "passes/prune/Matrices.h"
#include "passes/prune/Subspace.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace Eigen;
namespace edgecc::prune {
namespace {

/// Second moments of several places that are held at the same time.
constexpr int64_t kMemory = int64_t(1) << 30;

MatrixXf byWeights(const ResidualStream &stream, ArrayRef<StreamPlace> places, int64_t kept) {
  edge::EmbeddingOp lookup = stream.lookup;
  VectorXd read = VectorXd::Zero(stream.width), written = gramOf(*floatWeight(lookup)).diagonal();
  for (const StreamPlace &place : places)
    read += place.gram().diagonal();
  for (auto &[writer, sum] : stream.writers)
    if (sum)
      written += readWeight(writer).rowwise().squaredNorm().cast<double>();
  return largestAxes(read.cwiseProduct(written), kept);
}

} // namespace

Operation *StreamPlace::start() const {
  edge::RmsNormOp before = norm;
  edge::LinearOp first = readers.front();
  return before ? before.getOperation() : first.getOperation();
}

double StreamPlace::epsilon() const {
  edge::RmsNormOp before = norm;
  return before ? before.getEpsilon().convertToDouble() : 0;
}

RowMatrix StreamPlace::readBy(const Observed &stream) const {
  RowMatrix rows = tokenRows(stream);
  if (!norm)
    return rows;
  VectorXf factors = (rows.rowwise().squaredNorm().array() / float(rows.cols()) + float(epsilon())).rsqrt();
  return factors.asDiagonal() * rows;
}

MatrixXd gramOf(const FloatWeight &weight) {
  constexpr int64_t kRows = 512;
  MatrixXd sum = MatrixXd::Zero(weight.k, weight.k);
  for (int64_t first = 0; first < weight.n; first += kRows) {
    RowMatrix rows = readChannels(weight, first, std::min(weight.n, first + kRows));
    sum += (rows.transpose() * rows).cast<double>();
  }
  return sum;
}

MatrixXd StreamPlace::gram() const {
  MatrixXd sum = MatrixXd::Zero(scale.size(), scale.size());
  for (edge::LinearOp reader : readers)
    sum += gramOf(*floatWeight(reader));
  VectorXd factors = scale.cast<double>();
  return factors.asDiagonal() * sum * factors.asDiagonal();
}

std::vector<StreamPlace> placesOf(const ResidualStream &stream) {
  llvm::MapVector<Value, StreamPlace> byInput;
  for (const ResidualStream::Reader &reader : stream.readers) {
    edge::LinearOp linear = reader.linear;
    edge::RmsNormOp norm = reader.norm;
    StreamPlace &place = byInput[linear.getInput()];
    place.input = norm ? norm.getInput() : linear.getInput();
    place.norm = norm;
    place.scale = reader.scale();
    place.readers.push_back(linear);
  }
  std::vector<StreamPlace> places;
  for (auto &[input, place] : byInput)
    places.push_back(std::move(place));
  llvm::sort(places, [](const StreamPlace &a, const StreamPlace &b) { return a.start()->isBeforeInBlock(b.start()); });
  for (StreamPlace &place : places)
    llvm::sort(place.readers, [](edge::LinearOp a, edge::LinearOp b) { return a->isBeforeInBlock(b); });
  return places;
}

llvm::Expected<MatrixXf> chooseBasis(const ResidualStream &stream, ArrayRef<StreamPlace> places, Importance importance,
                                     int64_t kept, Calibrator *calibrator) {
  if (importance == Importance::Magnitude)
    return byWeights(stream, places, kept);
  // A direction is worth what it carries; each place counts the same.
  MatrixXd worth = MatrixXd::Zero(stream.width, stream.width);
  const int64_t atOnce = std::max<int64_t>(1, kMemory / (stream.width * stream.width * int64_t(sizeof(float))));
  for (size_t first = 0; first < places.size(); first += atOnce) {
    auto some = places.drop_front(first).take_front(atOnce);
    std::vector<InputMoments> moments(some.size());
    SmallVector<Value> values;
    std::vector<double> epsilons;
    for (const StreamPlace &place : some) {
      values.push_back(place.input);
      epsilons.push_back(place.norm ? place.epsilon() : -1);
    }
    auto add = [&](size_t, ArrayRef<Observed> observed) {
      for (auto [place, moment, value] : llvm::zip(some, moments, observed)) {
        RowMatrix rows = place.readBy(value);
        int64_t shape[] = {rows.rows(), rows.cols()};
        moment.add(Observed{shape, ArrayRef(rows.data(), rows.size()), {}, {}});
      }
      return llvm::Error::success();
    };
    // The norms are not a part of what is observed.
    Archive norms;
    norms(epsilons);
    if (llvm::Error error = calibrator->gather("weighing the stream", values, "moments behind norms " + norms.digest(),
                                               [&](Archive &archive) { archive(moments); }, add))
      return error;
    for (auto [place, moment] : llvm::zip(some, moments)) {
      MatrixXd carried = moment.matrix(/*centred=*/importance == Importance::Fluctuation);
      // Channels that are kept as they are count by what their readers make of them.
      if (importance != Importance::Surgeon) {
        VectorXd counted = carried.diagonal().cwiseProduct(place.gram().diagonal());
        carried = counted.asDiagonal();
      }
      worth += carried / std::max(carried.trace(), 1e-30);
    }
  }
  return importance == Importance::Surgeon ? largestDirections(worth, kept) : largestAxes(worth.diagonal(), kept);
}

} // namespace edgecc::prune

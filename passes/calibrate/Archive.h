//===- Archive.h - What a pass found out, to be kept -------------------------===//
//
// One list of variables writes them and reads them: there is no second one that could fall behind.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_CALIBRATE_ARCHIVE_H
#define EDGECC_PASSES_CALIBRATE_ARCHIVE_H

#include "passes/calibrate/Digest.h"
#include "llvm/ADT/ArrayRef.h"
#include <Eigen/Core>
#include <deque>
#include <string>
#include <vector>

namespace edgecc {

class Archive {
public:
  /// To write. Large variables are not copied: they must stay as they are until the parts were used.
  Archive() = default;
  /// To read what was written.
  explicit Archive(std::vector<llvm::StringRef> parts) : list(std::move(parts)), isReading(true) {}

  /// Numbers, Eigen's matrices, vectors of all of these, and whatever has a member `exchange`, which lists its own variables.
  template <typename... Variables> void operator()(Variables &...variables) { (exchange(variables), ...); }
  /// Of a symmetric matrix; the other one is zero when it is read.
  void lowerTriangle(Eigen::MatrixXf &matrix);

  llvm::ArrayRef<llvm::StringRef> parts() const { return list; }
  std::string digest() const;
  /// Whether what was written was read, all of it and nothing else.
  bool isWhole() const { return fits && next == list.size(); }

private:
  template <typename T> void exchange(T &value) {
    if constexpr (std::is_arithmetic_v<T>)
      exchangeBytes(&value, 1, /*isLarge=*/false);
    else if constexpr (std::is_base_of_v<Eigen::PlainObjectBase<T>, T>)
      exchangeMatrix(value);
    else
      value.exchange(*this);
  }
  template <typename T> void exchange(std::vector<T> &values) {
    size_t count = values.size();
    exchange(count);
    if constexpr (std::is_trivially_copyable_v<T>) {
      if (resize(values, count, sizeof(T)))
        exchangeBytes(values.data(), count);
    } else if (!isReading || resize(values, count, 0)) {
      for (T &value : values)
        exchange(value);
    }
  }
  template <typename Matrix> void exchangeMatrix(Matrix &matrix) {
    int64_t rows = matrix.rows(), columns = matrix.cols();
    exchange(rows);
    exchange(columns);
    if (isReading && !holds(uint64_t(rows) * uint64_t(columns), sizeof(typename Matrix::Scalar)))
      return;
    if (isReading)
      matrix.resize(rows, columns);
    exchangeBytes(matrix.data(), size_t(matrix.size()));
  }
  template <typename T> void exchangeBytes(T *values, size_t count, bool isLarge = true) {
    exchangePart(reinterpret_cast<char *>(values), count * sizeof(T), isLarge);
  }
  template <typename T> bool resize(std::vector<T> &values, size_t count, size_t size) {
    if (!isReading)
      return true;
    if (size ? !holds(count, size) : count > list.size() - next)
      return fits = false;
    values.resize(count);
    return true;
  }

  /// Whether the next part has so many numbers.
  bool holds(uint64_t count, uint64_t size) {
    fits &= next < list.size() && list[next].size() == count * size;
    return fits;
  }
  void exchangePart(char *data, size_t bytes, bool isLarge);

  std::vector<llvm::StringRef> list;
  std::deque<std::string> copies; ///< of what does not outlive the call
  bool isReading = false, fits = true;
  size_t next = 0; ///< to be read
};

} // namespace edgecc
#endif // EDGECC_PASSES_CALIBRATE_ARCHIVE_H

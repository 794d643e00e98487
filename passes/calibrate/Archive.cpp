//===- Archive.cpp ----------------------------------------------------------===//
#include "passes/calibrate/Archive.h"

using namespace llvm;
namespace edgecc {

void Archive::exchangePart(char *data, size_t bytes, bool isLarge) {
  if (!isReading) {
    ++next;
    StringRef part(data, bytes);
    list.push_back(isLarge ? part : StringRef(copies.emplace_back(part.str())));
  } else if (holds(bytes, 1)) {
    std::copy_n(list[next++].data(), bytes, data);
  }
}

void Archive::lowerTriangle(Eigen::MatrixXf &matrix) {
  int64_t size = matrix.rows();
  exchange(size);
  if (isReading) {
    if (!holds(uint64_t(size) * uint64_t(size + 1) / 2, sizeof(float)))
      return;
    matrix = Eigen::MatrixXf::Zero(size, size);
    const char *from = list[next++].data();
    for (int64_t i = 0; i < size; from += (size - i++) * sizeof(float))
      std::copy_n(from, (size - i) * sizeof(float), reinterpret_cast<char *>(matrix.col(i).data() + i));
    return;
  }
  std::string &packed = copies.emplace_back();
  for (int64_t i = 0; i < size; ++i)
    packed.append(reinterpret_cast<const char *>(matrix.col(i).data() + i), (size - i) * sizeof(float));
  list.push_back(packed);
  ++next;
}

std::string Archive::digest() const {
  Digest digest;
  for (StringRef part : list)
    digest.add(part);
  return digest.text();
}

} // namespace edgecc

//===- Npy.h - NumPy's .npy and .npz ----------------------------------------===//
//
// Why our own: Debian has no library for them, and the formats are small: a header that is a Python literal, and a zip archive.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_ARRAYS_NPY_H
#define EDGECC_RUNTIME_ARRAYS_NPY_H

#include "edgecc/edgecc.h"

#include <map>
#include <string>
#include <vector>

namespace edgecc::arrays {

/// A contiguous, row-major array.
struct Array {
  edgecc_type type = EDGECC_F32;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;
};

/// Each returns "" or a sentence that names the file. Fortran-ordered arrays are reordered, big-endian ones refused; a bf16 is
/// numpy's 2-byte void, as ml_dtypes writes it.
std::string readNpy(const std::string &path, Array &array);
std::string writeNpy(const std::string &path, const Array &array);
/// Stored members, and deflated ones where zlib was there at build time.
std::string readNpz(const std::string &path, std::map<std::string, Array> &arrays);
std::string writeNpz(const std::string &path, const std::map<std::string, Array> &arrays);

} // namespace edgecc::arrays
#endif // EDGECC_RUNTIME_ARRAYS_NPY_H

//===- Digest.h - What tells one piece of work from another ------------------===//
#ifndef EDGECC_PASSES_CALIBRATE_DIGEST_H
#define EDGECC_PASSES_CALIBRATE_DIGEST_H

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/BLAKE3.h"

namespace edgecc {

/// Of a list of texts: where one ends and the next begins counts as well.
class Digest {
public:
  Digest &add(llvm::StringRef text) {
    uint64_t length = text.size();
    hash.update(llvm::StringRef(reinterpret_cast<const char *>(&length), sizeof length));
    hash.update(text);
    return *this;
  }
  std::string text() { return llvm::toHex(hash.final(), /*LowerCase=*/true); }

private:
  llvm::BLAKE3 hash;
};

} // namespace edgecc
#endif // EDGECC_PASSES_CALIBRATE_DIGEST_H

//===- ByteCount.h - A size on the command line -----------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_BYTECOUNT_H
#define EDGECC_PASSES_QUANTIZE_BYTECOUNT_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace edgecc {

/// "1500000", or with kB, MB, GB (thousands, as reports have them), KiB, MiB or GiB: "1.5MB". Above 0.
llvm::Expected<int64_t> parseByteCount(llvm::StringRef text);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_BYTECOUNT_H

//===- OnnxReader.h - Files and text to protobuf bytes ----------------------===//
#ifndef EDGECC_COMPILER_FRONTEND_ONNXREADER_H
#define EDGECC_COMPILER_FRONTEND_ONNXREADER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace edgecc::onnx {

/// True if the bytes are ONNX's text format (.onnxtxt) or protobuf's (.textproto): no encoded model starts as these do.
bool isOnnxText(llvm::StringRef bytes);

/// The text as an encoded ModelProto. The error is the text parser's, with line and column.
llvm::Expected<std::string> encodeOnnxText(llvm::StringRef text);

} // namespace edgecc::onnx
#endif // EDGECC_COMPILER_FRONTEND_ONNXREADER_H

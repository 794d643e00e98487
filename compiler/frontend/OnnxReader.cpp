//===- OnnxReader.cpp - ONNX's text format ----------------------------------===//
//
// The only file that sees protobuf and exceptions. libonnx's parser fills protobuf classes; they are encoded again at once,
// so that text and binary models take one and the same way from here on.
//
//===----------------------------------------------------------------------===//
#include "compiler/frontend/OnnxReader.h"
#include <exception>
#include <onnx/defs/parser.h>

bool edgecc::onnx::isOnnxText(llvm::StringRef bytes) {
  // Comments run from '#' to the end of the line.
  while (true) {
    bytes = bytes.ltrim();
    if (!bytes.starts_with("#"))
      return bytes.starts_with("<");
    bytes = bytes.drop_until([](char c) { return c == '\n'; });
  }
}

/// The parser recurses for each subgraph; this many no honest test has.
static bool nestsTooDeeply(llvm::StringRef text) {
  int depth = 0;
  for (char c : text) {
    depth += (c == '{') - (c == '}');
    if (depth > 200)
      return true;
  }
  return false;
}

llvm::Expected<std::string> edgecc::onnx::encodeOnnxText(llvm::StringRef text) {
  if (nestsTooDeeply(text))
    return llvm::createStringError("the text nests more than 200 levels deep");
  std::string message;
  try {
    ::onnx::ModelProto model;
    const std::string copy = text.str(); // the parser borrows it
    ::onnx::Common::Status status = ::onnx::OnnxParser(copy.c_str()).Parse(model);
    std::string encoded;
    if (status.IsOK() && model.SerializePartialToString(&encoded))
      return encoded;
    message = status.IsOK() ? "the model is too large for the text format" : status.ErrorMessage();
  } catch (const std::exception &error) {
    message = error.what();
  }
  return llvm::createStringError("not a readable ONNX text: " + message);
}

//===- OnnxReader.cpp - ONNX's text format ----------------------------------===//
//
// The only file that sees protobuf and exceptions. libonnx's parser, or protobuf's own for its field-by-field format, fills
// protobuf classes; they are encoded again at once, so that text and binary models take one and the same way from here on.
//
//===----------------------------------------------------------------------===//
#include "compiler/frontend/OnnxReader.h"
#include <exception>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <onnx/defs/parser.h>

/// What comes after white space and comments, which run from '#' to the end of the line.
static llvm::StringRef firstToken(llvm::StringRef bytes) {
  while (true) {
    bytes = bytes.ltrim();
    if (!bytes.starts_with("#"))
      return bytes;
    bytes = bytes.drop_until([](char c) { return c == '\n'; });
  }
}

/// Protobuf's own text format: the name of a field, then ':' or '{'.
static bool isFieldByField(llvm::StringRef bytes) {
  llvm::StringRef text = firstToken(bytes);
  llvm::StringRef name = text.take_while([](char c) { return ('a' <= c && c <= 'z') || c == '_'; });
  llvm::StringRef rest = text.drop_front(name.size()).ltrim(' ');
  return name.size() > 1 && (rest.starts_with(":") || rest.starts_with("{"));
}

bool edgecc::onnx::isOnnxText(llvm::StringRef bytes) { return firstToken(bytes).starts_with("<") || isFieldByField(bytes); }

/// The parsers recurse for each subgraph; this many no honest test has.
static bool nestsTooDeeply(llvm::StringRef text) {
  int depth = 0;
  for (char c : text) {
    depth += (c == '{') - (c == '}');
    if (depth > 200)
      return true;
  }
  return false;
}

namespace {
/// Keeps the first error, with its place.
struct FirstError : google::protobuf::io::ErrorCollector {
  std::string text;
  void AddError(int line, int column, const std::string &message) override {
    if (text.empty())
      text = message + " (line: " + std::to_string(line + 1) + " column: " + std::to_string(column + 1) + ")";
  }
};
} // namespace

/// Empty if the text was read into `model`.
static std::string parse(const std::string &text, ::onnx::ModelProto &model) {
  if (!isFieldByField(text)) {
    ::onnx::Common::Status status = ::onnx::OnnxParser(text.c_str()).Parse(model);
    return status.IsOK() ? "" : status.ErrorMessage();
  }
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  return parser.ParseFromString(text, &model) ? "" : error.text;
}

llvm::Expected<std::string> edgecc::onnx::encodeOnnxText(llvm::StringRef text) {
  if (nestsTooDeeply(text))
    return llvm::createStringError("the text nests more than 200 levels deep");
  std::string message;
  try {
    ::onnx::ModelProto model;
    message = parse(text.str(), model);
    std::string encoded;
    if (message.empty() && model.SerializePartialToString(&encoded))
      return encoded;
    if (message.empty())
      message = "the model is too large for the text format";
  } catch (const std::exception &error) {
    message = error.what();
  }
  return llvm::createStringError("not a readable ONNX text: " + message);
}

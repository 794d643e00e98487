//===- FrontendTest.cpp - Faults of files that text cannot express ----------===//
//
// External data, typed value lists, and damaged protobuf: the models are encoded here, field by field.
//
//===----------------------------------------------------------------------===//
#include "compiler/frontend/Frontend.h"
#include "dialects/onnx/OnnxDialect.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <fstream>
#include <gtest/gtest.h>

using namespace edgecc::onnx;

namespace {

//===----------------------------------------------------------------------===//
// Protobuf, written by hand
//===----------------------------------------------------------------------===//

std::string varint(uint64_t value) {
  std::string out;
  for (; value > 127; value >>= 7)
    out += static_cast<char>(value | 128);
  return out + static_cast<char>(value);
}
std::string number(unsigned field, uint64_t value) { return varint(field << 3) + varint(value); }
std::string bytes(unsigned field, const std::string &value) { return varint(field << 3 | 2) + varint(value.size()) + value; }

template <typename T> std::string raw(std::initializer_list<T> values) {
  return std::string(reinterpret_cast<const char *>(values.begin()), values.size() * sizeof(T));
}

enum Type : int { Float = 1, UInt8 = 2, Int8 = 3, Bool = 9, Float16 = 10, Int4 = 22 };

std::string tensor(const std::string &name, Type type, const std::vector<int64_t> &dims, const std::string &values) {
  std::string out;
  for (int64_t dim : dims)
    out += number(1, dim);
  return out + number(2, type) + bytes(8, name) + values;
}

std::string external(const std::string &location, const std::string &offset, const std::string &length) {
  auto entry = [](const std::string &key, const std::string &value) {
    return value.empty() ? "" : bytes(13, bytes(1, key) + bytes(2, value));
  };
  return entry("location", location) + entry("offset", offset) + entry("length", length) + number(14, 1);
}

/// A model whose only output is the initializer `w`.
std::string modelOf(const std::string &w) {
  std::string graph = bytes(5, w) + bytes(12, bytes(1, "w"));
  return number(1, 8) + bytes(8, number(2, 17)) + bytes(7, graph);
}

//===----------------------------------------------------------------------===//
// A folder with a model
//===----------------------------------------------------------------------===//

class Frontend : public ::testing::Test {
protected:
  void SetUp() override { ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("edgecc-frontend", folder)); }
  void TearDown() override { llvm::sys::fs::remove_directories(folder); }

  std::string path(const std::string &name) { return folder.str().str() + "/" + name; }
  void write(const std::string &name, const std::string &content) { std::ofstream(path(name), std::ios::binary) << content; }

  /// The value of the initializer, or the error.
  std::string import(const std::string &model, const ImportOptions &options = {}) {
    write("model.onnx", model);
    auto imported = importOnnx(path("model.onnx"), context, options);
    if (!imported)
      return llvm::toString(imported.takeError());
    module = std::move(*imported);
    value = {};
    module->walk([&](ConstantOp op) { value = op.getValue(); });
    return value ? "" : "no constant";
  }

  std::string resource() {
    auto attribute = mlir::dyn_cast<mlir::DenseResourceElementsAttr>(value);
    return attribute ? std::string(attribute.getData().begin(), attribute.getData().end()) : "not a resource";
  }

  std::string printed() {
    std::string text;
    llvm::raw_string_ostream os(text);
    os << value;
    return text;
  }

  llvm::SmallString<128> folder;
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::ElementsAttr value;
};

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

//===----------------------------------------------------------------------===//
// External data
//===----------------------------------------------------------------------===//

TEST_F(Frontend, ExternalDataIsFoundByOffset) {
  std::string values(4096, '\1');
  write("w.bin", "padding8" + values);
  ASSERT_EQ(import(modelOf(tensor("w", Float, {1024}, external("w.bin", "8", "4096")))), "");
  EXPECT_EQ(resource(), values);
}

TEST_F(Frontend, UnalignedExternalDataIsAligned) {
  std::string values(4096, '\1');
  write("w.bin", "odd" + values);
  ASSERT_EQ(import(modelOf(tensor("w", Float, {1024}, external("w.bin", "3", "")))), "");
  EXPECT_EQ(resource(), values);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(mlir::cast<mlir::DenseResourceElementsAttr>(value).getData().data()) % 4, 0u);
}

TEST_F(Frontend, ExternalDataOutlivesTheModule) {
  write("w.bin", std::string(4096, '\1'));
  ASSERT_EQ(import(modelOf(tensor("w", Float, {1024}, external("w.bin", "", "")))), "");
  module = {};
  llvm::sys::fs::remove(path("w.bin"));
  EXPECT_EQ(resource(), std::string(4096, '\1'));
}

TEST_F(Frontend, ExternalDataThatDoesNotFitIsRefused) {
  write("w.bin", std::string(4096, '\1'));
  auto with = [&](const char *offset, const char *length) {
    return import(modelOf(tensor("w", Float, {1024}, external("w.bin", offset, length))));
  };
  EXPECT_CONTAINS(with("1", "4096"), "tensor 'w': 4096 bytes at 1 do not lie in w.bin, which has 4096; is the file complete?");
  EXPECT_CONTAINS(with("18446744073709551615", "4096"), "do not lie in w.bin");
  EXPECT_CONTAINS(with("0", "4095"), "tensor 'w' has 4096 bytes by its type, but 4095 in w.bin");
  EXPECT_CONTAINS(with("-1", "4096"), "its external offset '-1' is not a number of bytes");
  EXPECT_CONTAINS(with("0", "many"), "its external length 'many' is not a number of bytes");
}

TEST_F(Frontend, MissingExternalDataIsNamed) {
  EXPECT_CONTAINS(import(modelOf(tensor("w", Float, {1024}, external("w.bin", "0", "4096")))),
                  "tensor 'w': there is no file 'w.bin' in ");
  EXPECT_CONTAINS(import(modelOf(tensor("w", Float, {1024}, number(14, 1)))), "tensor 'w': '' is not a relative path");
}

TEST_F(Frontend, ExternalDataStaysInTheFolder) {
  EXPECT_CONTAINS(import(modelOf(tensor("w", UInt8, {1}, external("/etc/passwd", "0", "1")))),
                  "tensor 'w': '/etc/passwd' is not a relative path");
  EXPECT_CONTAINS(import(modelOf(tensor("w", UInt8, {1}, external("a/../../secret", "0", "1")))),
                  "'a/../../secret' leads out of the model's folder");
  ASSERT_FALSE(llvm::sys::fs::create_link("/etc/passwd", path("link.bin")));
  std::string model = modelOf(tensor("w", UInt8, {1}, external("link.bin", "0", "1")));
  EXPECT_CONTAINS(import(model), "'link.bin' is a link that leads out of the model's folder, to /etc/passwd");
  ImportOptions trusted;
  trusted.weightsDirs = {"/etc"};
  EXPECT_EQ(import(model, trusted), "");
  ASSERT_FALSE(llvm::sys::fs::create_directories(path("folder.bin")));
  EXPECT_CONTAINS(import(modelOf(tensor("w", UInt8, {1}, external("folder.bin", "0", "1")))), "it is not a regular file");
}

//===----------------------------------------------------------------------===//
// Values in the file
//===----------------------------------------------------------------------===//

TEST_F(Frontend, RawValues) {
  ASSERT_EQ(import(modelOf(tensor("w", Float, {2}, bytes(9, raw<float>({1.5f, -2}))))), "");
  EXPECT_EQ(printed(), "dense<[1.500000e+00, -2.000000e+00]> : tensor<2xf32>");
  ASSERT_EQ(import(modelOf(tensor("w", Int8, {2, 2}, bytes(9, raw<int8_t>({7, 7, 7, 7}))))), "");
  EXPECT_EQ(printed(), "dense<7> : tensor<2x2xi8>");
  ASSERT_EQ(import(modelOf(tensor("w", Bool, {3}, bytes(9, raw<int8_t>({1, 0, 1}))))), "");
  EXPECT_EQ(printed(), "dense<[true, false, true]> : tensor<3xi1>");
  ASSERT_EQ(import(modelOf(tensor("w", Int4, {3}, bytes(9, raw<uint8_t>({0xF1, 0x07}))))), "");
  EXPECT_EQ(printed(), "dense<[1, -1, 7]> : tensor<3xi4>");
  ASSERT_EQ(import(modelOf(tensor("w", Float, {0, 4}, ""))), "");
  EXPECT_EQ(printed(), "dense<> : tensor<0x4xf32>");
}

TEST_F(Frontend, TypedValues) {
  ASSERT_EQ(import(modelOf(tensor("w", Float, {2}, bytes(4, raw<float>({1.5f, -2}))))), "");
  EXPECT_EQ(printed(), "dense<[1.500000e+00, -2.000000e+00]> : tensor<2xf32>");
  // 16-bit floats stand as their bits in integers, packed or one by one.
  ASSERT_EQ(import(modelOf(tensor("w", Float16, {2}, bytes(5, varint(0x3C00) + varint(0xC000))))), "");
  EXPECT_EQ(printed(), "dense<[1.000000e+00, -2.000000e+00]> : tensor<2xf16>");
  ASSERT_EQ(import(modelOf(tensor("w", Int8, {2}, number(5, 5) + number(5, static_cast<uint64_t>(-3))))), "");
  EXPECT_EQ(printed(), "dense<[5, -3]> : tensor<2xi8>");
}

TEST_F(Frontend, ValuesThatDoNotFitTheirTypeAreRefused) {
  EXPECT_CONTAINS(import(modelOf(tensor("w", Float, {3}, bytes(9, raw<float>({1, 2}))))),
                  "tensor 'w' has 12 bytes by its type, but 8 in the file");
  EXPECT_CONTAINS(import(modelOf(tensor("w", Int8, {3}, number(5, 5)))), "has 3 bytes by its type, but 1 in the file");
  EXPECT_CONTAINS(import(modelOf(tensor("w", Float, {1}, number(5, 5)))), "has its float values in a field for another type");
  EXPECT_CONTAINS(import(modelOf(tensor("w", Float, {-1}, ""))), "has a dimension of -1");
  EXPECT_CONTAINS(import(modelOf(tensor("w", Float, {1ll << 40, 1ll << 40}, ""))), "is larger than any machine");
  EXPECT_CONTAINS(import(modelOf(tensor("w", static_cast<Type>(8), {1}, ""))), "has elements of string, which is not supported");
  EXPECT_CONTAINS(import(modelOf(tensor("w", static_cast<Type>(99), {1}, ""))), "has elements of type number 99");
}

//===----------------------------------------------------------------------===//
// Placeholders
//===----------------------------------------------------------------------===//

TEST_F(Frontend, WhatCannotBeImportedIsStoodInFor) {
  auto node = [](const std::string &op, const std::string &domain, const std::string &input, const std::string &output) {
    return bytes(1, bytes(1, input) + bytes(2, output) + bytes(4, op) + bytes(7, domain));
  };
  std::string graph = node("Foo", "acme", "w", "a") + node("Neg", "", "a", "b") + node("Add", "", "nowhere", "c") +
                      bytes(5, tensor("w", Float, {2}, bytes(9, raw<float>({1, 2})))) + bytes(12, bytes(1, "b")) +
                      bytes(12, bytes(1, "c"));
  std::string model = number(1, 8) + bytes(8, number(2, 17)) + bytes(7, graph);
  EXPECT_CONTAINS(import(model), "cannot be imported (2 problems)");
  ImportOptions options;
  options.placeholders = true;
  ASSERT_EQ(import(model, options), "");
  auto problems = (*module)->getAttrOfType<mlir::ArrayAttr>("onnx.problems");
  ASSERT_TRUE(problems && problems.size() == 1);
  EXPECT_CONTAINS(mlir::cast<mlir::StringAttr>(problems[0]).str(), "input 'nowhere' is not an input");
  std::vector<std::string> refused;
  module->walk([&](NodeOp op) { refused.push_back(op.getRefused().value_or("").str()); });
  ASSERT_EQ(refused.size(), 3u);
  EXPECT_CONTAINS(refused[0], "operators of domain 'acme' are not known");
  EXPECT_EQ(refused[1] + refused[2], "");
  // Where there is no graph there is nothing to go on with.
  EXPECT_CONTAINS(import(number(1, 8) + bytes(8, number(2, 99)) + bytes(7, graph), options), "opset 99 is newer");
}

//===----------------------------------------------------------------------===//
// Damage
//===----------------------------------------------------------------------===//

std::string smallModel() {
  auto value = [](const std::string &name) {
    return bytes(1, name) + bytes(2, bytes(1, number(1, Float) + bytes(2, bytes(1, bytes(2, "n")) + bytes(1, number(1, 2)))));
  };
  std::string attribute = bytes(1, "alpha") + number(20, 1) + varint(2 << 3 | 5) + raw<float>({0.5f});
  std::string node = bytes(1, "x") + bytes(2, "a") + bytes(3, "name") + bytes(4, "Elu") + bytes(5, attribute);
  std::string call = bytes(1, "a") + bytes(2, "b") + bytes(4, "f") + bytes(7, "local");
  std::string add = bytes(1, "b") + bytes(1, "w") + bytes(2, "y") + bytes(4, "Add");
  std::string graph = bytes(1, node) + bytes(1, call) + bytes(1, add) +
                      bytes(5, tensor("w", Float, {2}, bytes(9, raw<float>({1, 2})))) + bytes(11, value("x")) +
                      bytes(12, value("y"));
  std::string function = bytes(1, "f") + bytes(4, "v") + bytes(5, "r") +
                         bytes(7, bytes(1, "v") + bytes(2, "r") + bytes(4, "Neg")) + bytes(9, number(2, 17)) + bytes(10, "local");
  return number(1, 8) + bytes(2, "test") + bytes(8, number(2, 17)) + bytes(7, graph) + bytes(14, bytes(1, "k") + bytes(2, "v")) +
         bytes(25, function);
}

/// Imports without a crash; what comes out is an error with a text, or a module.
void importsOrRefuses(std::string bytes) {
  mlir::MLIRContext context;
  auto module = importOnnxBytes(bytes, "small.onnx", context);
  std::string message = module ? "small.onnx" : llvm::toString(module.takeError());
  EXPECT_EQ(message.rfind("small.onnx", 0), 0u) << message;
  // What stands in for the rest is a module all the same.
  ImportOptions options;
  options.placeholders = true;
  auto partial = importOnnxBytes(bytes, "small.onnx", context, options);
  if (!partial)
    return llvm::consumeError(partial.takeError());
  EXPECT_TRUE(mlir::succeeded(mlir::verify(**partial))) << message;
}

TEST(DamagedModel, IsWhole) {
  mlir::MLIRContext context;
  auto module = importOnnxBytes(smallModel(), "small.onnx", context);
  ASSERT_TRUE(static_cast<bool>(module)) << llvm::toString(module.takeError());
}

TEST(DamagedModel, EveryPrefix) {
  std::string model = smallModel();
  for (size_t size = 0; size < model.size(); ++size)
    importsOrRefuses(model.substr(0, size));
}

TEST(DamagedModel, EveryByte) {
  std::string model = smallModel();
  for (size_t at = 0; at < model.size(); ++at)
    for (char flip : {char(0x01), char(0x80), char(0xff)}) {
      std::string damaged = model;
      damaged[at] ^= flip;
      importsOrRefuses(damaged);
    }
}

} // namespace

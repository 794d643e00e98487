//===- OnnxModel.cpp - Protobuf bytes to borrowed structs -------------------===//
//
// One function per message, one case per field; the numbers are those of onnx.proto3 in ONNX 1.22. Fields nobody reads
// (doc strings, training, device configurations) are skipped. Subgraphs stay encoded until someone asks for them, so
// nesting in a hostile file costs no stack.
//
//===----------------------------------------------------------------------===//
#include "compiler/frontend/OnnxModel.h"
#include "compiler/frontend/Wire.h"

using namespace edgecc::onnx;
using namespace edgecc::onnx::proto;
using llvm::StringRef;

bool proto::decodeVarints(llvm::ArrayRef<StringRef> chunks, llvm::function_ref<void(uint64_t)> each) {
  WireFault fault;
  for (StringRef chunk : chunks) {
    Wire wire(chunk, fault);
    while (!fault.what && !wire.atEnd()) {
      uint64_t value = wire.varint();
      if (!fault.what)
        each(value);
    }
  }
  return !fault.what;
}

namespace {

class Decoder {
public:
  WireFault fault;

  KeyValue keyValue(StringRef bytes) {
    KeyValue result;
    for (Wire wire(bytes, fault); wire.next();)
      switch (wire.field()) {
      case 1: result.first = wire.bytes(); break;
      case 2: result.second = wire.bytes(); break;
      default: wire.skip();
      }
    return result;
  }

  Tensor tensor(StringRef bytes) {
    Tensor result;
    for (Wire wire(bytes, fault); wire.next();)
      switch (wire.field()) {
      case 1: integers(wire, result.dims); break;
      case 2: result.type = static_cast<int32_t>(wire.integer()); break;
      case 4:
      case 5:
      case 6:
      case 7:
      case 10:
      case 11:
        if (result.typedField && result.typedField != wire.field())
          wire.fail("a tensor with values of two types");
        result.typedField = wire.field();
        result.typed.push_back(wire.numbers());
        break;
      case 8: result.name = wire.bytes(); break;
      case 9: result.raw = wire.bytes(); break;
      case 13: result.externalData.push_back(keyValue(wire.bytes())); break;
      case 14: result.external = wire.integer() == 1; break;
      default: wire.skip();
      }
    return result;
  }

  Attribute attribute(StringRef bytes) {
    Attribute result;
    AttributeKind seen = AttributeKind::None;
    for (Wire wire(bytes, fault); wire.next();) {
      if (AttributeKind kind = kindOfField(wire.field()); kind != AttributeKind::None)
        seen = kind;
      switch (wire.field()) {
      case 1: result.name = wire.bytes(); break;
      case 2: result.f = wire.f32(); break;
      case 3: result.i = static_cast<int64_t>(wire.integer()); break;
      case 4: result.s = wire.bytes(); break;
      case 5:
      case 10: result.tensors.push_back(tensor(wire.bytes())); break;
      case 6: result.graph = wire.bytes(); break;
      case 7: floats(wire, result.floats); break;
      case 8: integers(wire, result.ints); break;
      case 9: result.strings.push_back(wire.bytes()); break;
      case 14: result.type = type(wire.bytes()); break;
      case 20: result.kind = declaredKind(wire); break;
      case 21: result.reference = wire.bytes(); break;
      default: wire.skip();
      }
    }
    // Old files leave the type out, and an empty list has nothing but its type.
    if (result.kind == AttributeKind::None)
      result.kind = seen;
    return result;
  }

  Node node(StringRef bytes) {
    Node result;
    for (Wire wire(bytes, fault); wire.next();)
      switch (wire.field()) {
      case 1: result.inputs.push_back(wire.bytes()); break;
      case 2: result.outputs.push_back(wire.bytes()); break;
      case 3: result.name = wire.bytes(); break;
      case 4: result.op = wire.bytes(); break;
      case 5: result.attributes.push_back(attribute(wire.bytes())); break;
      case 7: result.domain = domain(wire.bytes()); break;
      case 8: result.overload = wire.bytes(); break;
      default: wire.skip();
      }
    return result;
  }

  Graph graph(StringRef bytes) {
    Graph result;
    for (Wire wire(bytes, fault); wire.next();)
      switch (wire.field()) {
      case 1: result.nodes.push_back(node(wire.bytes())); break;
      case 2: result.name = wire.bytes(); break;
      case 5: result.initializers.push_back(tensor(wire.bytes())); break;
      case 11: result.inputs.push_back(valueInfo(wire.bytes())); break;
      case 12: result.outputs.push_back(valueInfo(wire.bytes())); break;
      case 13: result.values.push_back(valueInfo(wire.bytes())); break;
      case 15: result.sparseInitializers.push_back(sparseName(wire.bytes())); break;
      default: wire.skip();
      }
    return result;
  }

  Model model(StringRef bytes) {
    Model result;
    for (Wire wire(bytes, fault); wire.next();)
      switch (wire.field()) {
      case 1: result.irVersion = static_cast<int64_t>(wire.integer()); break;
      case 2: result.producer = wire.bytes(); break;
      case 3: result.producerVersion = wire.bytes(); break;
      case 7:
        result.graph = graph(wire.bytes());
        result.hasGraph = true;
        break;
      case 8: result.opsets.push_back(opset(wire.bytes())); break;
      case 14: result.metadata.push_back(keyValue(wire.bytes())); break;
      case 25: result.functions.push_back(function(wire.bytes())); break;
      default: wire.skip();
      }
    return result;
  }

private:
  /// The two spellings of ONNX's own domain become one.
  static StringRef domain(StringRef spelled) { return spelled == "ai.onnx" ? StringRef() : spelled; }

  /// The kind of attribute whose value stands in that field.
  static AttributeKind kindOfField(unsigned field) {
    switch (field) {
    case 2: return AttributeKind::Float;
    case 3: return AttributeKind::Int;
    case 4: return AttributeKind::String;
    case 5: return AttributeKind::Tensor;
    case 6: return AttributeKind::Graph;
    case 7: return AttributeKind::Floats;
    case 8: return AttributeKind::Ints;
    case 9: return AttributeKind::Strings;
    case 10: return AttributeKind::Tensors;
    case 11: return AttributeKind::Graphs;
    case 14: return AttributeKind::TypeProto;
    case 15: return AttributeKind::TypeProtos;
    case 22: return AttributeKind::SparseTensor;
    case 23: return AttributeKind::SparseTensors;
    default: return AttributeKind::None;
    }
  }

  static AttributeKind declaredKind(Wire &wire) {
    uint64_t kind = wire.integer();
    if (kind > static_cast<uint64_t>(AttributeKind::TypeProtos))
      wire.fail("an attribute of an unknown type");
    return static_cast<AttributeKind>(kind);
  }

  static void integers(Wire &wire, std::vector<int64_t> &list) {
    if (!decodeVarints(wire.numbers(), [&](uint64_t value) { list.push_back(static_cast<int64_t>(value)); }))
      wire.fail("a damaged list of integers");
  }

  static void floats(Wire &wire, std::vector<float> &list) {
    StringRef run = wire.numbers();
    if (run.size() % 4)
      wire.fail("a damaged list of floats");
    for (; run.size() >= 4; run = run.drop_front(4))
      list.push_back(Wire::readFloat(run.take_front(4)));
  }

  OpsetImport opset(StringRef bytes) {
    OpsetImport result;
    for (Wire wire(bytes, fault); wire.next();)
      switch (wire.field()) {
      case 1: result.domain = domain(wire.bytes()); break;
      case 2: result.version = static_cast<int64_t>(wire.integer()); break;
      default: wire.skip();
      }
    return result;
  }

  Dimension dimension(StringRef bytes) {
    Dimension result;
    for (Wire wire(bytes, fault); wire.next();)
      switch (wire.field()) {
      case 1: result.value = static_cast<int64_t>(wire.integer()); break;
      case 2: result.name = wire.bytes(); break;
      default: wire.skip();
      }
    // Some exporters write -1 for a size they do not know.
    if (result.value < 0)
      result.value = -1;
    return result;
  }

  void tensorType(StringRef bytes, Type &result) {
    for (Wire wire(bytes, fault); wire.next();)
      switch (wire.field()) {
      case 1: result.element = static_cast<int32_t>(wire.integer()); break;
      case 2:
        result.hasShape = true;
        for (Wire shape(wire.bytes(), fault); shape.next();)
          if (shape.field() == 1)
            result.dims.push_back(dimension(shape.bytes()));
          else
            shape.skip();
        break;
      default: wire.skip();
      }
  }

  Type type(StringRef bytes) {
    Type result;
    for (Wire wire(bytes, fault); wire.next();)
      if (wire.field() == 1) {
        result.isTensor = true;
        tensorType(wire.bytes(), result);
      } else {
        wire.skip();
      }
    return result;
  }

  ValueInfo valueInfo(StringRef bytes) {
    ValueInfo result;
    for (Wire wire(bytes, fault); wire.next();)
      switch (wire.field()) {
      case 1: result.name = wire.bytes(); break;
      case 2: result.type = type(wire.bytes()); break;
      default: wire.skip();
      }
    return result;
  }

  StringRef sparseName(StringRef bytes) {
    StringRef name;
    for (Wire wire(bytes, fault); wire.next();)
      if (wire.field() == 1)
        name = tensor(wire.bytes()).name;
      else
        wire.skip();
    return name;
  }

  Function function(StringRef bytes) {
    Function result;
    for (Wire wire(bytes, fault); wire.next();)
      switch (wire.field()) {
      case 1: result.name = wire.bytes(); break;
      case 4: result.inputs.push_back(wire.bytes()); break;
      case 5: result.outputs.push_back(wire.bytes()); break;
      case 7: result.nodes.push_back(node(wire.bytes())); break;
      case 9: result.opsets.push_back(opset(wire.bytes())); break;
      case 10: result.domain = domain(wire.bytes()); break;
      case 11: result.defaults.push_back(attribute(wire.bytes())); break;
      case 12: result.values.push_back(valueInfo(wire.bytes())); break;
      case 13: result.overload = wire.bytes(); break;
      default: wire.skip();
      }
    return result;
  }
};

llvm::Error faultError(const WireFault &fault, StringRef bytes) {
  return llvm::createStringError("not a readable ONNX model: %s at byte %llu of %llu; is the file complete?", fault.what,
                                 static_cast<unsigned long long>(fault.at - bytes.begin()),
                                 static_cast<unsigned long long>(bytes.size()));
}

} // namespace

llvm::Expected<Model> proto::readModel(StringRef bytes) {
  Decoder decoder;
  Model model = decoder.model(bytes);
  if (decoder.fault.what)
    return faultError(decoder.fault, bytes);
  return model;
}

llvm::Expected<Graph> proto::readGraph(StringRef bytes) {
  Decoder decoder;
  Graph graph = decoder.graph(bytes);
  if (decoder.fault.what)
    return faultError(decoder.fault, bytes);
  return graph;
}

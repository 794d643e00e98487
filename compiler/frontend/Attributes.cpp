//===- Attributes.cpp - Attributes of nodes in MLIR -------------------------===//
#include "compiler/frontend/Importer.h"
#include "llvm/ADT/StringSwitch.h"

using namespace edgecc::onnx;
using llvm::StringRef;

/// Integer attributes that are element types, in any operator.
static bool isElementTypeAttribute(StringRef name) {
  return llvm::StringSwitch<bool>(name)
      .Cases({"to", "dtype", "output_dtype", "output_datatype", "softmax_precision", "stash_type"}, true)
      .Default(false);
}

/// Null if there is nothing to say, or if the node is refused.
mlir::Attribute Importer::convert(NodeContext &node, StringRef name, const proto::Attribute &attribute, std::string &refusal) {
  auto unsupported = [&](const llvm::Twine &what) {
    refusal = ("attribute '" + name + "' " + what).str();
    return mlir::Attribute();
  };
  auto loaded = [&](const proto::Tensor &tensor) -> mlir::Attribute {
    llvm::Expected<mlir::ElementsAttr> value = constants.load(tensor, node.name + "." + name.str());
    return value ? *value : unsupported("cannot be read: " + llvm::toString(value.takeError()));
  };
  switch (attribute.kind) {
  case proto::AttributeKind::Float: return builder.getF32FloatAttr(attribute.f);
  case proto::AttributeKind::Int:
    if (!isElementTypeAttribute(name))
      return builder.getI64IntegerAttr(attribute.i);
    if (attribute.i == proto::Undefined)
      return {};
    if (mlir::Type type = attribute.i == static_cast<int32_t>(attribute.i)
                              ? elementType(static_cast<int32_t>(attribute.i), context)
                              : mlir::Type())
      return mlir::TypeAttr::get(type);
    return unsupported("asks for " + dataTypeName(static_cast<int32_t>(attribute.i)) + ", which is not supported");
  case proto::AttributeKind::String: return builder.getStringAttr(attribute.s);
  case proto::AttributeKind::Floats: return builder.getDenseF32ArrayAttr(attribute.floats);
  case proto::AttributeKind::Ints: return builder.getDenseI64ArrayAttr(attribute.ints);
  case proto::AttributeKind::Strings: return builder.getStrArrayAttr(attribute.strings);
  case proto::AttributeKind::Tensor:
    return attribute.tensors.empty() ? unsupported("has no value") : loaded(attribute.tensors.front());
  case proto::AttributeKind::Tensors: {
    llvm::SmallVector<mlir::Attribute> values;
    for (const proto::Tensor &tensor : attribute.tensors)
      if (mlir::Attribute value = loaded(tensor))
        values.push_back(value);
    return builder.getArrayAttr(values);
  }
  case proto::AttributeKind::TypeProto:
    if (mlir::Type type = typeOf(attribute.type))
      return mlir::TypeAttr::get(type);
    return unsupported("is a type that is not supported; only tensors are");
  default: return unsupported("is of a kind that is not supported (a graph list, a sparse tensor or a list of types)");
  }
}

//===- Metadata.cpp ---------------------------------------------------------------===//
//
// One function per table of runtime/schema/model.fbs.
//
//===----------------------------------------------------------------------===//
#include "compiler/package/Metadata.h"
#include "compiler/package/Extent.h"
#include "dialects/edge/Checked.h"
#include "dialects/edge/EdgeDialect.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <map>

using namespace llvm;
namespace edgecc {
namespace {

template <typename T> using Offset = flatbuffers::Offset<T>;
template <typename T> using Offsets = std::vector<Offset<T>>;

std::optional<fb::ElementType> elementType(StringRef name) {
  if (name == "bool")
    return fb::ElementType::boolean;
  for (fb::ElementType type : fb::EnumValuesElementType())
    if (name == fb::EnumNameElementType(type))
      return type;
  return std::nullopt;
}

class Writer {
public:
  Writer(plan::ModelOp plan, ArrayRef<CodeImage> images) : plan(plan), images(images) {}

  Expected<std::vector<char>> run(ArrayRef<PlacedSegment> segments, const PackageOptions &options);

private:
  Offset<flatbuffers::String> text(StringRef value) { return builder.CreateString(value.data(), value.size()); }
  void fail(const Twine &where, const Twine &what) {
    error = joinErrors(std::move(error), createStringError(where + ": " + what));
  }

  Offset<fb::Extent> extent(mlir::AffineExpr expr, const Twine &where);
  Offset<flatbuffers::Vector<Offset<fb::Extent>>> shape(mlir::AffineMap map, const Twine &where);
  fb::ElementType element(StringRef name, const Twine &where);
  Offset<fb::Tensor> tensor(plan::TensorOp op, const Twine &where);
  Offsets<fb::Symbol> symbols();
  Offsets<fb::State> states();
  Offset<fb::Entry> entry(plan::EntryOp op);
  Offsets<fb::Exit> exits();
  Offset<fb::Segment> segment(const PlacedSegment &placed);
  Offsets<fb::Property> properties(StringRef buildId);

  plan::ModelOp plan;
  ArrayRef<CodeImage> images;
  flatbuffers::FlatBufferBuilder builder;
  Error error = Error::success();
  size_t symbolCount = 0;
};

Offset<fb::Extent> Writer::extent(mlir::AffineExpr expr, const Twine &where) {
  bool known = true;
  expr.walk([&](mlir::AffineExpr part) {
    if (auto symbol = dyn_cast<mlir::AffineSymbolExpr>(part))
      known &= symbol.getPosition() < symbolCount;
  });
  auto code = postfix(expr);
  if (!code)
    fail(where, toString(code.takeError()));
  else if (!known)
    fail(where, "a size uses a symbol beyond the " + Twine(symbolCount) + " of edge.symbols");
  else
    return fb::CreateExtent(builder, builder.CreateVectorOfStructs(*code));
  return fb::CreateExtent(builder, builder.CreateVectorOfStructs(std::vector<fb::Instruction>()));
}

Offset<flatbuffers::Vector<Offset<fb::Extent>>> Writer::shape(mlir::AffineMap map, const Twine &where) {
  Offsets<fb::Extent> extents;
  for (mlir::AffineExpr size : map.getResults())
    extents.push_back(extent(size, where));
  return builder.CreateVector(extents);
}

fb::ElementType Writer::element(StringRef name, const Twine &where) {
  if (auto type = elementType(name))
    return *type;
  fail(where, "the element type '" + name + "' is none that the runtime knows");
  return fb::ElementType::f32;
}

Offsets<fb::Symbol> Writer::symbols() {
  Offsets<fb::Symbol> list;
  auto module = plan->getParentOfType<mlir::ModuleOp>();
  if (auto attributes = module->getAttrOfType<mlir::ArrayAttr>(edge::EdgeDialect::kSymbolsAttr))
    for (auto symbol : attributes.getAsRange<edge::SymbolAttr>())
      list.push_back(fb::CreateSymbol(builder, text(symbol.getName()), symbol.getMin(), symbol.getMax(),
                                      static_cast<fb::SymbolRole>(symbol.getRole())));
  symbolCount = list.size();
  return list;
}

Offsets<fb::State> Writer::states() {
  Offsets<fb::State> list;
  for (plan::StateOp state : plan.getBody().getOps<plan::StateOp>()) {
    std::string where = ("state '" + state.getName() + "'").str();
    auto sizes = shape(state.getShape(), where);
    list.push_back(fb::CreateState(builder, text(state.getName()), element(state.getElement(), where), sizes));
  }
  return list;
}

Offset<fb::Tensor> Writer::tensor(plan::TensorOp op, const Twine &where) {
  auto sizes = shape(op.getShape(), where);
  fb::Rule rule = fb::Rule::Equal;
  Offset<fb::Extent> base;
  ArrayRef<int64_t> range;
  auto values = op->getAttrOfType<mlir::DictionaryAttr>(edge::kValuesAttr);
  for (mlir::NamedAttribute value : values ? values.getValue() : ArrayRef<mlir::NamedAttribute>()) {
    auto known = StringSwitch<std::optional<fb::Rule>>(value.getName())
                     .Case("equal", fb::Rule::Equal)
                     .Case("counting", fb::Rule::Counting)
                     .Case("below", fb::Rule::Below)
                     .Default(std::nullopt);
    if (auto map = dyn_cast<mlir::AffineMapAttr>(value.getValue()); map && known) {
      rule = *known;
      base = extent(map.getValue().getResult(0), where + ", values");
    } else if (auto bounds = dyn_cast<mlir::DenseI64ArrayAttr>(value.getValue());
               bounds && bounds.size() == 2 && value.getName() == "range") {
      range = bounds.asArrayRef();
    } else {
      fail(where, "the values '" + value.getName().getValue() + "' are none that the runtime knows");
    }
  }
  return fb::CreateTensor(builder, text(op.getName()), element(op.getElement(), where), sizes, rule, base, !range.empty(),
                          range.empty() ? 0 : range[0], range.empty() ? 0 : range[1]);
}

Offset<fb::Entry> Writer::entry(plan::EntryOp op) {
  Offsets<fb::Tensor> inputs, outputs, checked;
  for (plan::TensorOp part : op.getBody().getOps<plan::TensorOp>())
    (part.getOutput()                    ? outputs
     : part->hasAttr(edge::kCheckedAttr) ? checked
                                         : inputs)
        .push_back(tensor(part, "entry '" + op.getName() + "', tensor '" + part.getName() + "'"));
  std::vector<uint64_t> offsets;
  for (const CodeImage &image : images)
    offsets.push_back(image.entries.lookup(op.getFunction()));
  Offset<fb::Extent> advance;
  if (auto map = op.getAdvance())
    advance = extent(map->getResult(0), "entry '" + op.getName() + "', advance");
  auto inputVector = builder.CreateVector(inputs), outputVector = builder.CreateVector(outputs);
  Offset<flatbuffers::Vector<Offset<fb::Tensor>>> checkedVector;
  if (!checked.empty())
    checkedVector = builder.CreateVector(checked);
  Offset<flatbuffers::Vector<Offset<fb::Extent>>> sizes;
  if (auto map = op->getAttrOfType<mlir::AffineMapAttr>(edge::kSizesAttr))
    sizes = shape(map.getValue(), "entry '" + op.getName() + "', sizes");
  bool exits = !op.getBody().getOps<plan::LeaveOp>().empty();
  return fb::CreateEntry(builder, text(op.getName()), inputVector, outputVector, op.getArena(), builder.CreateVector(offsets),
                         advance, exits, int32_t(op.getResumes().value_or(-1)), checkedVector, sizes);
}

Offsets<fb::Exit> Writer::exits() {
  Offsets<fb::Exit> list;
  for (plan::ExitOp exit : plan.getBody().getOps<plan::ExitOp>()) {
    fb::ExitConfidence confidence = fb::ExitConfidence::Margin;
    bool known = false;
    for (fb::ExitConfidence kind : fb::EnumValuesExitConfidence())
      if (exit.getConfidence().equals_insensitive(fb::EnumNameExitConfidence(kind))) {
        confidence = kind;
        known = true;
      }
    if (!known)
      fail("exit after layer " + Twine(exit.getLayer()),
           "the confidence '" + exit.getConfidence() + "' is none that the runtime knows");
    list.push_back(fb::CreateExit(builder, uint32_t(exit.getLayer()), exit.getThreshold().convertToFloat(), confidence,
                                  int32_t(exit.getPending().value_or(-1))));
  }
  return list;
}

Offset<fb::Segment> Writer::segment(const PlacedSegment &placed) {
  auto hash = builder.CreateVector(placed.hash.data(), placed.hash.size());
  Offset<flatbuffers::String> architecture;
  Offset<flatbuffers::Vector<Offset<flatbuffers::String>>> features;
  if (placed.variant) {
    Offsets<flatbuffers::String> names;
    for (StringRef feature : placed.variant->features)
      names.push_back(text(feature));
    architecture = text(placed.variant->arch);
    features = builder.CreateVector(names);
  }
  return fb::CreateSegment(builder, text(placed.name), placed.kind, placed.offset, placed.length, placed.alignment, hash,
                           architecture, features);
}

Offsets<fb::Property> Writer::properties(StringRef buildId) {
  std::map<std::string, std::string> sorted;
  for (mlir::NamedAttribute fact : plan.getFacts()) {
    std::string value;
    if (auto string = dyn_cast<mlir::StringAttr>(fact.getValue()))
      value = string.str();
    else if (auto integer = dyn_cast<mlir::IntegerAttr>(fact.getValue()))
      value = toString(integer.getValue(), 10, /*Signed=*/true);
    else
      raw_string_ostream(value) << fact.getValue();
    sorted[fact.getName().str()] = value;
  }
  for (const CodeImage &image : images) {
    std::string names;
    for (auto &[offset, name] : image.kernels)
      names += (names.empty() ? "" : ";") + std::to_string(offset) + ":" + name;
    if (!names.empty())
      sorted["kernels." + image.variant->name.str()] = names;
  }
  if (!buildId.empty())
    sorted["build_id"] = buildId.str();
  Offsets<fb::Property> list;
  for (auto &[key, value] : sorted)
    list.push_back(fb::CreateProperty(builder, text(key), text(value)));
  return list;
}

Expected<std::vector<char>> Writer::run(ArrayRef<PlacedSegment> segments, const PackageOptions &options) {
  auto symbolVector = builder.CreateVector(symbols());
  auto stateVector = builder.CreateVector(states());
  Offsets<fb::Entry> entryList;
  int32_t fill = -1;
  for (plan::EntryOp op : plan.getBody().getOps<plan::EntryOp>()) {
    if (op.getFills())
      fill = int32_t(entryList.size());
    entryList.push_back(entry(op));
  }
  Offsets<fb::Exit> exitList = exits();
  Offsets<fb::Segment> segmentList;
  for (const PlacedSegment &placed : segments)
    segmentList.push_back(segment(placed));
  auto entryVector = builder.CreateVector(entryList);
  auto segmentVector = builder.CreateVector(segmentList);
  auto propertyVector = builder.CreateVector(properties(options.buildId));
  Offset<flatbuffers::Vector<Offset<fb::Exit>>> exitVector;
  if (!exitList.empty())
    exitVector = builder.CreateVector(exitList);
  auto model = fb::CreateModel(builder, text(plan.getName()), text(options.compiler), text(options.commandLine),
                               text(options.sourceSha256), symbolVector, stateVector, entryVector, segmentVector, propertyVector,
                               exitVector, uint32_t(plan.getLayers()), fill);
  fb::FinishModelBuffer(builder, model);
  if (error)
    return std::move(error);
  auto *bytes = reinterpret_cast<const char *>(builder.GetBufferPointer());
  return std::vector<char>(bytes, bytes + builder.GetSize());
}

} // namespace

uint64_t elementSize(StringRef name) {
  auto type = elementType(name);
  if (!type)
    return 0;
  switch (*type) {
  case fb::ElementType::f64:
  case fb::ElementType::i64:
  case fb::ElementType::u64: return 8;
  case fb::ElementType::f32:
  case fb::ElementType::i32:
  case fb::ElementType::u32: return 4;
  case fb::ElementType::f16:
  case fb::ElementType::bf16:
  case fb::ElementType::i16:
  case fb::ElementType::u16: return 2;
  default: return 1;
  }
}

Expected<std::vector<char>> serialize(plan::ModelOp plan, ArrayRef<CodeImage> images, ArrayRef<PlacedSegment> segments,
                                      const PackageOptions &options) {
  return Writer(plan, images).run(segments, options);
}

} // namespace edgecc

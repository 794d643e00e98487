//===- Samples.cpp ------------------------------------------------------------===//
#include "compiler/calibrate/Samples.h"
#include "compiler/calibrate/Counted.h"
#include "compiler/calibrate/Segment.h"
#include "compiler/text/TextCompiler.h"
#include "compiler/text/TextEncoder.h"
#include "dialects/edge/Checked.h"
#include "dialects/edge/Shape.h"
#include "runtime/text/Documents.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <random>

using namespace llvm;
namespace edgecc {
namespace {

/// Shorter documents say nothing: a title, an empty line.
constexpr size_t kLeastTokens = 4;

struct Input {
  std::string name, element;
  SmallVector<std::pair<int64_t, int64_t>> bounds; // of each dimension
  int64_t vocabulary;
};

/// Rows of the smallest table that is read by `ids`; as many as there can be if none is.
int64_t vocabularyOf(mlir::func::FuncOp main, function_ref<bool(mlir::BlockArgument)> ids) {
  int64_t vocabulary = INT64_MAX;
  main.walk([&](edge::EmbeddingOp embedding) {
    mlir::Value source = embedding.getIds();
    while (auto reshape = source.getDefiningOp<edge::ReshapeOp>())
      source = reshape.getInput();
    if (auto argument = dyn_cast<mlir::BlockArgument>(source); argument && ids(argument))
      vocabulary = std::min(vocabulary, embedding.getTable().getType().getDimSize(0));
  });
  return vocabulary;
}

std::vector<Input> inputsOf(mlir::func::FuncOp main) {
  std::vector<Input> inputs;
  SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(main);
  for (mlir::BlockArgument argument : main.getArguments()) {
    unsigned i = argument.getArgNumber();
    if (main.getArgAttr(i, edge::EdgeDialect::kStateAttr))
      continue;
    auto text = [&](StringRef attribute) {
      auto string = main.getArgAttrOfType<mlir::StringAttr>(i, attribute);
      return string ? string.str() : std::string();
    };
    Input input{text(edge::EdgeDialect::kNameAttr),
                text(edge::EdgeDialect::kElementAttr),
                {},
                vocabularyOf(main, [&](mlir::BlockArgument ids) { return ids == argument; })};
    for (mlir::AffineExpr size : edge::shapeOf(argument))
      input.bounds.push_back(edge::boundsOf(size, symbols));
    inputs.push_back(std::move(input));
  }
  return inputs;
}

class Reader {
public:
  Reader(const SampleOptions &options, mlir::func::FuncOp main) : options(options), main(main), inputs(inputsOf(main)) {}

  Expected<std::vector<Sample>> read() {
    StringRef file = options.file;
    if (inputs.empty())
      return fail("has samples, but the model has no input to give them to");
    if (Error error = file.ends_with(".npz") ? readArrays() : file.ends_with(".ids") ? readTokens() : readText())
      return error;
    if (samples.empty())
      return fail("has no sample of at least " + Twine(leastTokens()) + " tokens");
    return std::move(samples);
  }

private:
  Error fail(const Twine &what) const { return createStringError(options.flag + (" " + Twine(options.file)) + ": " + what); }
  bool full() const { return int64_t(samples.size()) >= options.count; }

  /// Fewer are no sample.
  int64_t leastTokens() const { return std::max<int64_t>(kLeastTokens, inputs.front().bounds.back().first); }

  Error readArrays();
  Error readText();
  Error readTokens();
  Error openTokenizer(text::TextEncoder &encoder) const;
  Error checkTakesTokens() const;
  Error checkTokens(const Input &input, const Twine &where, ArrayRef<int64_t> ids) const;
  Error checkTokens(const Input &input, const arrays::Array &array) const;
  void addDocument(ArrayRef<int64_t> ids, int64_t prompt);

  const SampleOptions &options;
  mlir::func::FuncOp main;
  std::vector<Input> inputs;
  std::vector<Sample> samples;
};

/// Something of a file that may be anything, to be shown.
std::string shown(StringRef text) {
  constexpr size_t kShown = 40;
  std::string result;
  raw_string_ostream stream(result);
  printEscapedString(text.take_front(kShown), stream);
  return result + (text.size() > kShown ? "..." : "");
}

Error Reader::readArrays() {
  std::map<std::string, arrays::Array> all;
  if (std::string fault = arrays::readNpz(options.file, all); !fault.empty())
    return createStringError(Twine(options.flag) + " " + fault);
  if (Error error = checkCounted(main, all))
    return fail(toString(std::move(error)));
  int64_t rows = -1, atOnce = INT64_MAX;
  bool isPiece = any_of(inputs, [](const Input &input) { return StringRef(input.name).starts_with(kBeginName); });
  for (const Input &input : inputs) {
    auto found = all.find(input.name);
    if (found == all.end())
      return fail("has no array for the model's input '" + input.name + "'");
    const arrays::Array &array = found->second;
    if (input.element != edgecc_type_name(array.type))
      return fail("'" + input.name + "' is " + edgecc_type_name(array.type) + ", but the model takes " + input.element);
    if (array.shape.empty() || array.shape.size() != input.bounds.size())
      return fail("'" + input.name + "' has " + Twine(array.shape.size()) + " dimensions, but the model's input has " +
                  Twine(input.bounds.size()));
    if (rows >= 0 && array.shape[0] != rows && !isPiece)
      return fail("'" + input.name + "' has " + Twine(array.shape[0]) + " rows, but '" + inputs.front().name + "' has " +
                  Twine(rows));
    rows = array.shape[0];
    atOnce = std::min(atOnce, input.bounds[0].second);
    for (auto [i, size] : enumerate(ArrayRef(array.shape).drop_front()))
      if (size < input.bounds[i + 1].first || size > input.bounds[i + 1].second)
        return fail("dimension " + Twine(i + 1) + " of '" + input.name + "' is " + Twine(size) + ", but the model takes " +
                    Twine(input.bounds[i + 1].first) + " to " + Twine(input.bounds[i + 1].second) + " (see --dim)");
    if (Error error = checkTokens(input, array))
      return error;
  }
  if (isPiece) {
    Sample &sample = samples.emplace_back();
    for (const Input &input : inputs)
      sample[input.name] = std::move(all[input.name]);
    return Error::success();
  }
  // A few rows a call: what is observed of them is held at the same time.
  constexpr int64_t kRows = 8;
  int64_t least = 1;
  for (const Input &input : inputs)
    least = std::max(least, input.bounds[0].first);
  atOnce = std::max(least, std::min(atOnce, kRows));
  // The last call has what is left, if it is made.
  if (int64_t last = rows % atOnce; rows == 0 || (last > 0 && last < least && rows / atOnce < options.count))
    return fail("has " + Twine(rows) + " rows, but the model takes at least " + Twine(least) + " in each call (see --dim)");
  for (int64_t first = 0; first < rows && !full(); first += atOnce) {
    int64_t count = std::min(atOnce, rows - first);
    Sample sample;
    for (const Input &input : inputs) {
      const arrays::Array &array = all[input.name];
      arrays::Array &part = sample[input.name];
      size_t rowBytes = array.bytes.size() / array.shape[0];
      part.type = array.type;
      part.shape = array.shape;
      part.shape[0] = count;
      part.bytes.assign(array.bytes.begin() + first * rowBytes, array.bytes.begin() + (first + count) * rowBytes);
    }
    samples.push_back(std::move(sample));
  }
  return Error::success();
}

Error Reader::openTokenizer(text::TextEncoder &encoder) const {
  std::string fault, source = options.tokenizer == "none" ? "" : options.tokenizer;
  if (source.empty() && !options.segment.empty()) {
    fault = encoder.openSegment(options.segment);
  } else {
    if (source.empty())
      source = tokenizerBeside(options.model).value_or("");
    if (source.empty())
      return fail("is text, and there is no tokenizer beside the model; name one with --tokenizer (or give .ids or .npz)");
    fault = encoder.open(source);
  }
  return fault.empty() ? Error::success() : fail(fault);
}

Error Reader::checkTokens(const Input &input, const Twine &where, ArrayRef<int64_t> ids) const {
  if (input.vocabulary == INT64_MAX)
    return Error::success();
  for (int64_t id : ids)
    if (id < 0 || id >= input.vocabulary)
      return fail(where + "token " + Twine(id) + " is none of the model's " + Twine(input.vocabulary) + ", 0 to " +
                  Twine(input.vocabulary - 1) + ": the tokenizer is another model's");
  return Error::success();
}

Error Reader::checkTokens(const Input &input, const arrays::Array &array) const {
  std::vector<int64_t> ids;
  if (array.type == EDGECC_I64)
    ids.assign(reinterpret_cast<const int64_t *>(array.bytes.data()),
               reinterpret_cast<const int64_t *>(array.bytes.data() + array.bytes.size()));
  else if (array.type == EDGECC_I32)
    ids.assign(reinterpret_cast<const int32_t *>(array.bytes.data()),
               reinterpret_cast<const int32_t *>(array.bytes.data() + array.bytes.size()));
  return checkTokens(input, "'" + input.name + "': ", ids);
}

void Reader::addDocument(ArrayRef<int64_t> ids, int64_t prompt) {
  const Input &input = inputs.front();
  int64_t most = std::min(input.bounds.back().second, options.length);
  while (!ids.empty() && !full()) {
    ArrayRef<int64_t> piece = ids.take_front(most);
    ids = ids.drop_front(piece.size());
    int64_t known = std::min<int64_t>(prompt, piece.size());
    prompt -= known;
    if (int64_t(piece.size()) < leastTokens())
      continue;
    samples.emplace_back().prompt = known;
    arrays::Array &array = samples.back()[input.name];
    array.shape.assign(input.bounds.size(), 1);
    array.shape.back() = int64_t(piece.size());
    auto store = [&](auto type) {
      for (int64_t id : piece) {
        decltype(type) number = id;
        const auto *bytes = reinterpret_cast<const uint8_t *>(&number);
        array.bytes.insert(array.bytes.end(), bytes, bytes + sizeof(number));
      }
    };
    array.type = input.element == "i64" ? EDGECC_I64 : EDGECC_I32;
    input.element == "i64" ? store(int64_t()) : store(int32_t());
  }
}

Error Reader::readText() {
  auto document = MemoryBuffer::getFile(options.file);
  if (!document)
    return fail(document.getError().message());
  StringRef bytes = (*document)->getBuffer();
  const auto *begin = bytes.bytes_begin(), *end = begin;
  if (bytes.contains('\0') || !isLegalUTF8String(&end, bytes.bytes_end()))
    return fail("is no text in UTF-8; tokens are read from .ids and arrays from .npz");
  text::TextEncoder encoder;
  if (Error error = openTokenizer(encoder))
    return error;
  if (Error error = checkTakesTokens())
    return error;
  std::vector<std::string_view> documents = text::splitDocuments({bytes.data(), bytes.size()});
  // The count includes documents that are too short.
  documents.resize(std::min<size_t>(documents.size(), size_t(options.count)));
  for (std::string_view document : documents) {
    if (full())
      break;
    text::Buffer<int32_t> encoded;
    size_t prompt = 0;
    if (std::string fault = encoder.encodeDocument(document, options.split, encoded, prompt); !fault.empty())
      return fail(fault);
    std::vector<int64_t> ids(encoded.begin(), encoded.end());
    if (Error error = checkTokens(inputs.front(), "", ids))
      return error;
    addDocument(ids, int64_t(prompt));
  }
  return Error::success();
}

Error Reader::checkTakesTokens() const {
  if (inputs.size() == 1 && (inputs[0].element == "i64" || inputs[0].element == "i32") && !inputs[0].bounds.empty())
    return Error::success();
  std::string names;
  for (const Input &input : inputs)
    names += (names.empty() ? "'" : ", '") + input.name + "'";
  return fail("has tokens, but the model's inputs are " + names + "; give an .npz with an array for each");
}

Error Reader::readTokens() {
  if (Error error = checkTakesTokens())
    return error;
  auto buffer = MemoryBuffer::getFile(options.file);
  if (!buffer)
    return fail(buffer.getError().message());
  SmallVector<StringRef> lines;
  (*buffer)->getBuffer().split(lines, '\n');
  for (auto [number, line] : enumerate(lines)) {
    if (full())
      break;
    std::string where = ("line " + Twine(number + 1) + ": ").str();
    SmallVector<StringRef> words;
    line.split(words, ' ', -1, /*KeepEmpty=*/false);
    std::vector<int64_t> ids;
    int64_t prompt = 0;
    for (StringRef word : words)
      if (word.trim("\r") == "|")
        prompt = ids.size();
      else if (word.trim(",\t\r").getAsInteger(10, ids.emplace_back()))
        return fail(where + "'" + shown(word.trim("\r")) + "' is no token id");
    if (Error error = checkTokens(inputs.front(), where, ids))
      return error;
    addDocument(ids, prompt);
  }
  return Error::success();
}

} // namespace

std::optional<std::string> tokenizerBeside(StringRef model) {
  SmallString<128> folder = sys::path::parent_path(model);
  if (std::string known = text::findTokenizer(folder.str().str()); !known.empty())
    return known;
  std::error_code code;
  SmallVector<std::string> found;
  for (sys::fs::directory_iterator it(folder.empty() ? "." : folder.str(), code), end; it != end && !code; it.increment(code))
    if (StringRef name = sys::path::filename(it->path());
        name.starts_with("tok") && (name.ends_with(".bin") || name.ends_with(".model")))
      found.push_back(it->path());
  return found.size() == 1 ? std::optional(found.front()) : std::nullopt;
}

Expected<std::vector<Sample>> randomSamples(const SampleOptions &options, mlir::func::FuncOp main) {
  std::mt19937 random(1);
  std::vector<Sample> samples(options.count);
  SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(main);
  // One size for all that share a symbol; the session's own symbols are not of any input.
  SmallVector<mlir::AffineExpr> sizes;
  for (edge::SymbolAttr symbol : symbols)
    sizes.push_back(mlir::getAffineConstantExpr(
        std::min(symbol.getMax(), std::max(symbol.getMin(), std::min<int64_t>(options.length, 16))), main.getContext()));
  int64_t vocabulary = vocabularyOf(main, [](mlir::BlockArgument) { return true; });
  for (mlir::BlockArgument argument : main.getArguments()) {
    unsigned number = argument.getArgNumber();
    if (main.getArgAttr(number, edge::EdgeDialect::kStateAttr))
      continue;
    StringRef name = main.getArgAttrOfType<mlir::StringAttr>(number, edge::EdgeDialect::kNameAttr).getValue();
    StringRef element = main.getArgAttrOfType<mlir::StringAttr>(number, edge::EdgeDialect::kElementAttr).getValue();
    std::optional<edgecc_type> type;
    for (edgecc_type known : {EDGECC_F32, EDGECC_I64, EDGECC_I32, EDGECC_BOOL})
      if (element == edgecc_type_name(known))
        type = known;
    if (!type)
      return createStringError("the model's input '%s' is %s, for which there are no random numbers; give samples with %s",
                               name.str().c_str(), element.str().c_str(), options.flag);
    for (Sample &sample : samples) {
      arrays::Array &array = sample[name.str()];
      array.type = *type;
      int64_t count = 1;
      for (mlir::AffineExpr size : edge::shapeOf(argument)) {
        array.shape.push_back(cast<mlir::AffineConstantExpr>(edge::canonical(size.replaceSymbols(sizes))).getValue());
        count *= array.shape.back();
      }
      auto append = [&](auto value) {
        const auto *bytes = reinterpret_cast<const uint8_t *>(&value);
        array.bytes.insert(array.bytes.end(), bytes, bytes + sizeof(value));
      };
      bool isMask = name.contains("mask"), isType = name.contains("type");
      auto values = main.getArgAttrOfType<mlir::DictionaryAttr>(number, edge::kValuesAttr);
      auto range = values ? values.getAs<mlir::DenseI64ArrayAttr>("range") : mlir::DenseI64ArrayAttr();
      int64_t most = std::min<int64_t>(range ? range[1] : vocabulary - 1, (1 << 20) - 1);
      for (int64_t i = 0; i < count; ++i) {
        int64_t integer = isMask ? 1 : isType ? 0 : std::uniform_int_distribution<int64_t>(0, most)(random);
        switch (*type) {
        case EDGECC_F32: append(std::normal_distribution<float>()(random)); break;
        case EDGECC_I64: append(int64_t(integer)); break;
        case EDGECC_I32: append(int32_t(integer)); break;
        default: append(uint8_t(1));
        }
      }
    }
  }
  return samples;
}

Expected<std::vector<Sample>> readSamples(const SampleOptions &options, mlir::func::FuncOp main) {
  return Reader(options, main).read();
}

} // namespace edgecc

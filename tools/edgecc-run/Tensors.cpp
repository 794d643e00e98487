#include "tools/edgecc-run/Tensors.h"

#include "runtime/arrays/Npy.h"
#include "runtime/files/Outputs.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

namespace edgecc::tools {

using arrays::Array;

namespace {

int complain(const std::string &sentence) {
  fprintf(stderr, "edgecc-run: %s\n", sentence.c_str());
  return 1;
}

std::string readInputs(const TensorOptions &options, std::map<std::string, Array> &arrays) {
  if (!options.inputArchive.empty())
    if (std::string fault = edgecc::arrays::readNpz(options.inputArchive, arrays); !fault.empty())
      return fault;
  for (const std::string &input : options.inputs) {
    const size_t equals = input.find('=');
    if (equals == std::string::npos)
      return "--input " + input + ": write it as name=file.npy";
    if (std::string fault = edgecc::arrays::readNpy(input.substr(equals + 1), arrays[input.substr(0, equals)]); !fault.empty())
      return fault;
  }
  return "";
}

/// Tensor names may hold slashes and colons; a file name may not.
std::string fileName(std::string name) {
  std::replace_if(name.begin(), name.end(), [](char c) { return c == '/' || c == '\\' || c == ':'; }, '_');
  return name;
}

std::string outputFile(const TensorOptions &options, const std::string &name) {
  return options.outputDir + "/" + fileName(name) + ".npy";
}

/// Returns a sentence if a file of --output-dir would overwrite an input; else "".
std::string findOverwrittenInput(const Model &model, size_t entry, const TensorOptions &options) {
  std::vector<files::NamedFile> outputs, inputs;
  edgecc_tensor_info tensor;
  for (size_t i = 0; !options.outputDir.empty() && edgecc_model_output(model.handle(), entry, i, &tensor) == EDGECC_OK; ++i)
    outputs.push_back({"--output-dir", outputFile(options, tensor.name)});
  for (const std::string &input : options.inputs)
    inputs.push_back({"--input", input.substr(input.find('=') + 1)});
  return files::findClash(outputs, inputs);
}

} // namespace

std::string findOverwritten(const std::string &model, const std::string &tokenizer, const TensorOptions &options) {
  std::vector<files::NamedFile> outputs = {{"--outputs", options.outputArchive}};
  std::vector<files::NamedFile> inputs = {{"the model", model}, {"--tokenizer", tokenizer}, {"--inputs", options.inputArchive}};
  for (const std::string &input : options.inputs)
    if (const size_t equals = input.find('='); equals != std::string::npos)
      inputs.push_back({"--input", input.substr(equals + 1)});
  return files::findClash(outputs, inputs);
}

int runTensors(const Model &model, Session &session, const TensorOptions &options) {
  const ptrdiff_t entry = options.entry.empty() ? 0 : edgecc_model_find_entry(model.handle(), options.entry.c_str());
  edgecc_entry_info info;
  if (entry < 0 || edgecc_model_entry(model.handle(), size_t(entry), &info) != EDGECC_OK)
    return complain("the model has no entry '" + options.entry + "'; see --list");
  if (std::string fault = findOverwrittenInput(model, size_t(entry), options); !fault.empty())
    return complain(fault);
  std::map<std::string, Array> arrays;
  if (std::string fault = readInputs(options, arrays); !fault.empty())
    return complain(fault);
  for (const auto &[name, array] : arrays) {
    Status status = Status::of([&](edgecc_error *error) {
      return edgecc_session_set_input_by_name(session.handle(), info.name, name.c_str(), array.type, array.shape.data(),
                                              uint32_t(array.shape.size()), array.bytes.data(), error);
    });
    if (!status)
      return complain(status.message());
  }
  // The first run touches every page; it is not timed when there are others.
  std::vector<double> milliseconds;
  const int64_t position = edgecc_session_position(session.handle());
  for (unsigned i = 0; i < options.repeat + (options.repeat > 1); ++i) {
    Status status =
        Status::of([&](edgecc_error *error) { return edgecc_session_set_position(session.handle(), position, error); });
    const auto start = std::chrono::steady_clock::now();
    if (status)
      status = Status::of([&](edgecc_error *error) { return edgecc_session_run(session.handle(), size_t(entry), error); });
    if (!status)
      return complain(status.message());
    if (i > 0 || options.repeat == 1)
      milliseconds.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  fprintf(stderr, "%s: %.3f ms (median of %zu; best %.3f, worst %.3f), %u threads\n", info.name,
          milliseconds[milliseconds.size() / 2], milliseconds.size(), milliseconds.front(), milliseconds.back(),
          edgecc_session_threads(session.handle()));

  if (options.stats && edgecc_model_entry_exits(model.handle(), size_t(entry))) {
    edgecc_exit_report report;
    edgecc_session_exit_report(session.handle(), &report);
    fprintf(stderr, "exits: %u of %u layers; at the last exit %.3f sure\n", report.last_layer,
            edgecc_model_layers(model.handle()), double(report.confidence));
  }

  std::map<std::string, Array> results;
  for (size_t i = 0; i < info.output_count; ++i) {
    edgecc_tensor_info tensor;
    edgecc_output output;
    edgecc_model_output(model.handle(), size_t(entry), i, &tensor);
    edgecc_session_output(session.handle(), size_t(entry), i, &output, nullptr);
    const uint8_t *data = static_cast<const uint8_t *>(output.data);
    results[tensor.name] = {output.type, std::vector<int64_t>(output.shape, output.shape + output.rank),
                            std::vector<uint8_t>(data, data + output.bytes)};
    std::string shape;
    for (uint32_t d = 0; d < output.rank; ++d)
      shape += (d ? ", " : "") + std::to_string(output.shape[d]);
    printf("%s: %s [%s]\n", tensor.name, edgecc_type_name(output.type), shape.c_str());
  }
  if (!options.outputArchive.empty())
    if (std::string fault = edgecc::arrays::writeNpz(options.outputArchive, results); !fault.empty())
      return complain(fault);
  if (options.outputDir.empty())
    return 0;
  std::error_code ignored; // a directory that cannot be made shows when the file is written
  std::filesystem::create_directories(options.outputDir, ignored);
  for (const auto &[name, array] : results)
    if (std::string fault = edgecc::arrays::writeNpy(outputFile(options, name), array); !fault.empty())
      return complain(fault);
  return 0;
}

} // namespace edgecc::tools

//===- edgecc-run - Run a model.edge from the command line ------------------===//
#include "tools/edgecc-run/Chat.h"
#include "tools/edgecc-run/Generate.h"
#include "tools/edgecc-run/Tensors.h"

#include <CLI/CLI.hpp>

using namespace edgecc;
using namespace edgecc::tools;

static std::string shapeText(const edgecc_model *model, const edgecc_tensor_info &tensor) {
  std::string text = std::string(edgecc_type_name(tensor.type)) + " [";
  for (uint32_t d = 0; d < tensor.rank; ++d) {
    edgecc_extent_info extent;
    edgecc_model_extent(model, &tensor, d, &extent);
    text += (d ? ", " : "") + std::string(extent.text);
  }
  return text + "]";
}

/// ", optional, must count up from past", or "".
static std::string valuesText(const edgecc_model *model, size_t entry, size_t input) {
  char text[256];
  edgecc_model_input_values(model, entry, input, text, sizeof(text));
  return *text ? std::string(", ") + text : "";
}

static int list(const edgecc_model *model) {
  edgecc_model_info info;
  edgecc_model_get_info(model, &info);
  printf("%s (%s)\n", info.name, info.compiler);
  for (size_t i = 0; i < info.symbol_count; ++i) {
    edgecc_symbol_info symbol;
    edgecc_model_symbol(model, i, &symbol);
    printf("symbol %s: %lld..%lld\n", symbol.name, static_cast<long long>(symbol.min), static_cast<long long>(symbol.max));
  }
  for (size_t e = 0; e < info.entry_count; ++e) {
    edgecc_entry_info entry;
    edgecc_model_entry(model, e, &entry);
    printf("entry %s\n", entry.name);
    edgecc_tensor_info tensor;
    for (size_t i = 0; edgecc_model_input(model, e, i, &tensor) == EDGECC_OK; ++i)
      printf("  input  %s: %s%s\n", tensor.name, shapeText(model, tensor).c_str(), valuesText(model, e, i).c_str());
    for (size_t i = 0; edgecc_model_output(model, e, i, &tensor) == EDGECC_OK; ++i)
      printf("  output %s: %s\n", tensor.name, shapeText(model, tensor).c_str());
  }
  return 0;
}

int main(int argc, char **argv) {
  CLI::App app("Runs a model.edge: arrays in, arrays out; or, for a language model, a prompt in and text out.");
  app.set_version_flag("--version", edgecc_version());
  std::string path, cpu;
  edgecc_model_options modelOptions;
  edgecc_session_options sessionOptions;
  edgecc_model_options_init(&modelOptions);
  edgecc_session_options_init(&sessionOptions);
  bool listOnly = false, verifyAll = false;
  TensorOptions tensors;
  GenerateOptions generate;
  ChatOptions chat;
  std::string prompt, contextPolicy = "refuse";
  bool isChat = false, isRaw = false;

  app.add_option("model", path, "the compiled model")->required();
  app.add_flag("--list", listOnly, "show entries, inputs and outputs, and stop");
  app.add_flag("--verify", verifyAll, "compare every hash before running");
  app.add_option("--threads", sessionOptions.threads, "threads to compute with (default: the performance cores)");
  app.add_option("--cpu", cpu,
                 "CPU features to use: 'baseline', a list like dotprod,fp16, or a code segment (default: EDGECC_CPU, or all)");
  app.add_option("--memory-limit", sessionOptions.memory_limit, "bytes (or 512MB, 2GB) the session may hold")
      ->transform(CLI::AsSizeValue(true));
  app.add_option("--context", sessionOptions.context, "positions to have room for (default: the most that fits)");
  app.add_option("--entry", tensors.entry, "entry to run (default: the first)");

  auto *arrays = app.add_option_group("arrays");
  arrays->add_option("--input", tensors.inputs, "name=file.npy; may be repeated");
  arrays->add_option("--inputs", tensors.inputArchive, "an .npz with all inputs");
  arrays->add_option("--output-dir", tensors.outputDir, "write each output as NAME.npy into this directory");
  arrays->add_option("--outputs", tensors.outputArchive, "write all outputs into this .npz");
  arrays->add_option("--repeat", tensors.repeat, "run so often and report times")->check(CLI::Range(1u, 1000000u));

  auto *text = app.add_option_group("text");
  auto *promptOption =
      text->add_option("--prompt", prompt, "a message to answer, or, with --raw or without a chat template, a text to continue");
  text->add_flag("--chat", isChat, "answer messages of standard input, as a conversation")->excludes(promptOption);
  text->add_flag("--raw", isRaw, "continue the text of --prompt without the chat template");
  text->add_option("--system", chat.system, "the system message of a conversation");
  text->add_option("--load", chat.load, "JSON file with the messages that a conversation begins with");
  text->add_option("--tools", chat.tools,
                   "JSON file with the functions that an answer may call; calls are printed as 'call NAME JSON'");
  text->add_option("--template-variable", chat.variables,
                   "NAME=JSON for the chat template, such as enable_thinking=false; may be repeated");
  auto *idsOption = text->add_option("--ids", generate.ids, "token ids to continue, separated by commas")
                        ->delimiter(',')
                        ->excludes(promptOption);
  text->add_option("--tokenizer", generate.tokenizer, "a tokenizer to use instead of the model's own: any that edgecc compiles");
  auto *maxTokens = text->add_option("--max-tokens", generate.maxTokens,
                                     "tokens to write at most (default: 64; of an answer as many as the context has room for)");
  auto *temperature = text->add_option("--temperature", generate.sampling.temperature,
                                       "0 takes the likeliest token (default: the model's own, else 0)")
                          ->check(CLI::NonNegativeNumber);
  auto *topK = text->add_option("--top-k", generate.sampling.topK,
                                "sample from the k likeliest; 0 is all (default: the model's own, else 0)");
  auto *topP = text->add_option("--top-p", generate.sampling.topP,
                                "sample from the likeliest that make up this share (default: the model's own, else 1)")
                   ->check(CLI::Range(0.0, 1.0));
  auto *minP =
      text->add_option("--min-p", generate.sampling.minP,
                       "sample from tokens at least this likely, relative to the likeliest (default: the model's own, else 0)")
          ->check(CLI::Range(0.0, 1.0));
  auto *repetition = text->add_option("--repetition-penalty", generate.sampling.repetitionPenalty,
                                      "above 1 disfavours tokens that were there (default: the model's own, else 1)")
                         ->check(CLI::PositiveNumber);
  text->add_option("--presence-penalty", generate.sampling.presencePenalty,
                   "subtracted from the logits of generated tokens (default: 0)");
  text->add_option("--frequency-penalty", generate.sampling.frequencyPenalty,
                   "subtracted once for each time that a token was generated (default: 0)");
  text->add_option("--stop-string", chat.stops, "text that ends an answer; may be repeated");
  text->add_option("--context-policy", contextPolicy,
                   "when a conversation is longer than the context: refuse, or drop-oldest messages")
      ->check(CLI::IsMember({"refuse", "drop-oldest"}))
      ->capture_default_str();
  text->add_option("--seed", generate.sampling.seed, "of the sampling")->capture_default_str();
  text->add_option("--prefill-chunk", generate.prefillChunk,
                   "prompt tokens per call; 1 is token by token (default: as many as the model takes)");
  text->add_option("--stop", generate.stopIds, "ids that end the text (default: the model's eos_token_id)")->delimiter(',');
  text->add_flag("--ignore-eos", generate.ignoreStop, "write on after an end token");
  text->add_flag("--print-ids", generate.printIds, "print ids instead of text");
  text->add_flag("--exit-verify", generate.verifyExits,
                 "let the remaining layers verify what ended early, in batches: the text is that of the whole model");
  text->add_option("--drafts", generate.drafts, "tokens in such a batch at most")
      ->capture_default_str()
      ->check(CLI::Range(1u, 64u));

  ExitOptions &exits = generate.exits;
  auto *early = app.add_option_group("early exits", "of a model compiled with --exit-layers");
  early->add_option("--exit-threshold", exits.threshold, "end calls early that are at least this sure (default: the model's own)")
      ->check(CLI::Range(0.0, 1.0));
  auto *exitOption = early->add_option("--exit-layer", exits.layer, "end calls after this layer, however sure they are");
  early->add_flag("--never-exit", exits.never, "go to the last layer always")->excludes(exitOption);
  early->add_flag("--stats", generate.stats, "say how many layers were run");
  CLI11_PARSE(app, argc, argv);

  if (std::string fault = findOverwritten(path, generate.tokenizer, tensors); !fault.empty()) {
    fprintf(stderr, "edgecc-run: %s\n", fault.c_str());
    return 1;
  }

  modelOptions.cpu = cpu.empty() ? nullptr : cpu.c_str();
  modelOptions.flags = (verifyAll ? EDGECC_VERIFY_ALL : 0) | (listOnly ? EDGECC_INSPECT_ONLY : 0);
  Model model;
  Session session;
  Status status = model.open(path.c_str(), &modelOptions);
  if (status && listOnly)
    return list(model.handle());
  if (status)
    status = session.open(model, &sessionOptions);
  if (!status) {
    fprintf(stderr, "edgecc-run: %s\n", status.message());
    return 1;
  }
  if (std::string fault = chooseExits(model, session, exits); !fault.empty()) {
    fprintf(stderr, "edgecc-run: %s\n", fault.c_str());
    return 1;
  }
  tensors.stats = generate.stats;
  if (!*promptOption && !*idsOption && !isChat)
    return runTensors(model, session, tensors);
  Text own;
  std::string fault = own.open(model, generate.tokenizer);
  if (fault.empty() && isChat && !own.handle())
    fault = "the model has no tokenizer inside; compile it with --tokenizer, or name one here with --tokenizer";
  if (!fault.empty()) {
    fprintf(stderr, "edgecc-run: %s\n", fault.c_str());
    return 1;
  }
  if (isChat || (*promptOption && !isRaw)) {
    if (isChat || (own.handle() && edgecc_text_has_template(own.handle()))) {
      const auto given = [](const CLI::Option *option, auto value) { return *option ? std::optional(value) : std::nullopt; };
      chat.temperature = given(temperature, generate.sampling.temperature);
      chat.topK = given(topK, generate.sampling.topK);
      chat.topP = given(topP, generate.sampling.topP);
      chat.minP = given(minP, generate.sampling.minP);
      chat.repetitionPenalty = given(repetition, generate.sampling.repetitionPenalty);
      chat.presencePenalty = generate.sampling.presencePenalty;
      chat.frequencyPenalty = generate.sampling.frequencyPenalty;
      chat.seed = generate.sampling.seed;
      chat.maxTokens = given(maxTokens, generate.maxTokens).value_or(0);
      chat.prefillChunk = generate.prefillChunk;
      chat.ignoreStop = generate.ignoreStop;
      chat.dropsOldest = contextPolicy == "drop-oldest";
      if (*promptOption)
        chat.prompt = prompt;
      return runChat(own.handle(), model, session, chat);
    }
  }
  generate.entry = tensors.entry;
  if (*promptOption)
    generate.prompt = prompt;
  return runGenerate(model, session, own.handle(), generate);
}

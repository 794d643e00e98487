//===- Link.cpp - Object to image ---------------------------------------------===//
//
// LLD does the relocating, in process: it knows every relocation of every target, range extension thunks and the errata fixes.
// It is given the object and its script as memory files and writes into a pipe, so that an interrupted compile leaves nothing
// behind.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/Codegen.h"
#include "lld/Common/Driver.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/MemoryBuffer.h"
#include <fcntl.h>
#include <map>
#include <mutex>
#include <set>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

LLD_HAS_DRIVER(elf)

using namespace llvm;
namespace edgecc {
namespace {

// .text at 0 and .rodata behind it are the image. What a position-independent executable has for its loader follows and is
// cut off: it is only linked as one so that LLD turns every address it cannot resolve into a dynamic relocation that we can see.
constexpr StringLiteral kScript = R"(
SECTIONS {
  . = 0;
  .text : ALIGN(64) { *(.text .text.*) }
  .rodata : ALIGN(64) { *(.rodata .rodata.*) }
  .data.rel.ro : ALIGN(4096) { *(.data.rel.ro .data.rel.ro.*) }
  .got : { *(.got .got.plt) }
  .rela.dyn : { *(.rela.dyn .rela.plt) }
  .dynsym : { *(.dynsym) }
  .gnu.hash : { *(.gnu.hash) }
  .dynstr : { *(.dynstr) }
  .dynamic : { *(.dynamic) }
  /DISCARD/ : { *(.comment .note .note.* .eh_frame .eh_frame.* .ARM.attributes .llvm_addrsig) }
})";

struct Descriptor {
  int value = -1;
  Descriptor() = default;
  explicit Descriptor(int value) : value(value) {}
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  ~Descriptor() { reset(); }
  void reset() {
    if (value >= 0)
      close(value);
    value = -1;
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(value); }
};

Error systemError(const char *what) {
  return createStringError(std::error_code(errno, std::generic_category()), "cannot %s for the linker: %s", what,
                           strerror(errno));
}

Error fill(Descriptor &file, ArrayRef<char> bytes) {
  file.value = memfd_create("edgecc", MFD_CLOEXEC);
  if (file.value < 0)
    return systemError("make a file in memory");
  for (size_t done = 0; done < bytes.size();) {
    ssize_t written = write(file.value, bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno != EINTR)
      return systemError("fill a file in memory");
    done += std::max<ssize_t>(written, 0);
  }
  return Error::success();
}

/// The executable that LLD makes of `object`.
Expected<Bytes> runLinker(ArrayRef<char> object, const Variant &variant, StringRef entry) {
  Descriptor input, script;
  if (Error error = fill(input, object))
    return error;
  if (Error error = fill(script, ArrayRef<char>(kScript.data(), kScript.size())))
    return error;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return systemError("make a pipe");
  Descriptor readEnd(ends[0]), writeEnd(ends[1]);

  Bytes linked;
  std::thread reader([&] {
    char chunk[65536];
    ssize_t count;
    while ((count = read(readEnd.value, chunk, sizeof chunk)) > 0 || (count < 0 && errno == EINTR))
      linked.append(chunk, chunk + std::max<ssize_t>(count, 0));
  });

  bool arm = variant.arch == "aarch64";
  std::string inputPath = input.path(), scriptPath = script.path(), outputPath = writeEnd.path(), entryName = entry.str();
  std::vector<const char *> arguments = {"ld.lld",
                                         "-m",
                                         arm ? "aarch64linux" : "elf_x86_64",
                                         "-pie",
                                         "--no-dynamic-linker",
                                         "-z",
                                         "text",
                                         "-z",
                                         "norelro",
                                         "--hash-style=gnu",
                                         "--build-id=none",
                                         "--threads=1",
                                         "--no-mmap-output-file",
                                         "-e",
                                         entryName.c_str(),
                                         "-T",
                                         scriptPath.c_str(),
                                         "-o",
                                         outputPath.c_str(),
                                         inputPath.c_str()};
  if (variant.llvmFeatures.contains("fix-cortex-a53"))
    arguments.push_back("--fix-cortex-a53-843419");
  std::string messages;
  raw_string_ostream stream(messages);
  static std::mutex onlyOne; // LLD keeps its state in globals
  int status;
  {
    std::lock_guard<std::mutex> lock(onlyOne);
    status = lld::lldMain(arguments, stream, stream, {{lld::Gnu, &lld::elf::link}}).retCode;
  }
  writeEnd.reset();
  reader.join();
  if (status != 0 || linked.empty())
    return createStringError("linking the code for %s failed: %s", variant.name.str().c_str(),
                             StringRef(messages).trim().str().c_str());
  return linked;
}

using ElfObject = object::ELFObjectFile<object::ELF64LE>;

Expected<std::unique_ptr<object::ObjectFile>> parse(ArrayRef<char> bytes) {
  return object::ObjectFile::createELFObjectFile(MemoryBufferRef(StringRef(bytes.data(), bytes.size()), "edgecc code"));
}

/// The function of `object` around `offset` of `section`; empty if there is none.
std::string functionAt(const ElfObject &object, const object::SectionRef &section, uint64_t offset) {
  for (const object::ELFSymbolRef symbol : object.symbols()) {
    auto home = symbol.getSection();
    auto name = symbol.getName();
    auto address = symbol.getAddress();
    if (home && name && address && *home != object.section_end() && **home == section && symbol.getELFType() == ELF::STT_FUNC &&
        *address <= offset && offset < *address + symbol.getSize())
      return name->str();
    for (auto *failed : {&name})
      if (!*failed)
        consumeError(failed->takeError());
    if (!home)
      consumeError(home.takeError());
    if (!address)
      consumeError(address.takeError());
  }
  return "";
}

} // namespace

Error checkFreestanding(ArrayRef<char> bytes, const Variant &variant) {
  auto parsed = parse(bytes);
  if (!parsed)
    return parsed.takeError();
  const auto &elf = cast<ElfObject>(**parsed);
  std::string name = variant.name.str();

  for (const object::ELFSectionRef section : elf.sections()) {
    if (!(section.getFlags() & ELF::SHF_ALLOC) || !(section.getFlags() & ELF::SHF_WRITE) || section.getSize() == 0)
      continue;
    SetVector<StringRef> symbols;
    for (const object::ELFSymbolRef symbol : elf.symbols())
      if (auto home = symbol.getSection(); home && *home != elf.section_end() && **home == section)
        if (StringRef text = cantFail(symbol.getName()); !text.empty() && symbol.getELFType() != ELF::STT_SECTION)
          symbols.insert(text);
    return createStringError(
        "the code for %s has writable or relocated data (%s: %s), which an image cannot hold; keep it in the "
        "arena or make it a constant without addresses",
        name.c_str(), cantFail(section.getName()).str().c_str(), join(symbols, ", ").c_str());
  }

  std::map<std::string, std::set<std::string>> callers; // undefined symbol -> functions that use it
  for (const object::ELFSymbolRef symbol : elf.symbols())
    if (cantFail(symbol.getFlags()) & object::SymbolRef::SF_Undefined)
      if (StringRef text = cantFail(symbol.getName()); !text.empty() && text != "_GLOBAL_OFFSET_TABLE_")
        callers[text.str()];
  if (callers.empty())
    return Error::success();
  for (const object::ELFSectionRef section : elf.sections()) {
    auto target = section.getRelocatedSection();
    if (!target || *target == elf.section_end()) {
      if (!target)
        consumeError(target.takeError());
      continue;
    }
    for (const object::RelocationRef relocation : section.relocations())
      if (relocation.getSymbol() != elf.symbol_end())
        if (auto found = callers.find(cantFail(relocation.getSymbol()->getName()).str()); found != callers.end())
          if (std::string function = functionAt(elf, **target, relocation.getOffset()); !function.empty())
            found->second.insert(function);
  }
  std::string list;
  for (auto &[symbol, functions] : callers) {
    list += (list.empty() ? "'" : ", '") + symbol + "'";
    if (!functions.empty())
      list += " (from '" + join(functions, "', '") + "')";
  }
  return createStringError(
      "the code for %s calls %s; generated code has no library to call: lower it to arithmetic before code generation",
      name.c_str(), list.c_str());
}

Expected<CodeImage> linkImage(ArrayRef<char> object, const Variant &variant, ArrayRef<std::string> entries) {
  if (entries.empty())
    return createStringError("the module has no plan.entry, so there is nothing to link");
  auto linked = runLinker(object, variant, entries.front());
  if (!linked)
    return linked.takeError();
  auto parsed = parse(*linked);
  if (!parsed)
    return parsed.takeError();
  const auto &elf = cast<ElfObject>(**parsed);

  CodeImage image;
  image.variant = &variant;
  for (const object::ELFSectionRef section : elf.sections()) {
    StringRef name = cantFail(section.getName());
    if (!(section.getFlags() & ELF::SHF_ALLOC) || section.getSize() == 0)
      continue;
    if (name == ".text" || name == ".rodata") {
      StringRef contents = cantFail(section.getContents());
      image.bytes.resize(std::max<size_t>(image.bytes.size(), section.getAddress() + contents.size()));
      std::copy(contents.begin(), contents.end(), image.bytes.begin() + section.getAddress());
    } else if (!llvm::is_contained({".dynsym", ".gnu.hash", ".dynstr", ".dynamic"}, name)) {
      return createStringError(
          "the code for %s would need section %s (%llu bytes) at run time; an image holds code and constants only",
          variant.name.str().c_str(), name.str().c_str(), static_cast<unsigned long long>(section.getSize()));
    }
  }
  for (const object::ELFSymbolRef symbol : elf.symbols()) {
    StringRef name = cantFail(symbol.getName());
    if (llvm::is_contained(entries, name))
      image.entries[name] = cantFail(symbol.getAddress());
    else if (name.consume_back(".task") && symbol.getELFType() == ELF::STT_FUNC)
      image.kernels[cantFail(symbol.getAddress())] = name.str();
  }
  for (const std::string &name : entries)
    if (!image.entries.count(name))
      return createStringError("the entry '%s' is missing from the code for %s", name.c_str(), variant.name.str().c_str());
  return image;
}

} // namespace edgecc

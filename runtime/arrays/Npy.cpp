#include "runtime/arrays/Npy.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#ifdef EDGECC_HAVE_ZLIB
#include <zlib.h>
#endif

namespace edgecc::arrays {
namespace {

using Bytes = std::vector<uint8_t>;

struct TypeCode {
  const char *descr;
  edgecc_type type;
};
// The first code of a type is the one that is written.
constexpr TypeCode kTypes[] = {{"<f4", EDGECC_F32}, {"<f2", EDGECC_F16}, {"|V2", EDGECC_BF16}, {"<V2", EDGECC_BF16},
                               {"<f8", EDGECC_F64}, {"<i8", EDGECC_I64}, {"<i4", EDGECC_I32},  {"<i2", EDGECC_I16},
                               {"|i1", EDGECC_I8},  {"<u8", EDGECC_U64}, {"<u4", EDGECC_U32},  {"<u2", EDGECC_U16},
                               {"|u1", EDGECC_U8},  {"|b1", EDGECC_BOOL}};

std::string readFile(const std::string &path, Bytes &bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return path + ": cannot be opened";
  bytes.assign(std::istreambuf_iterator<char>(file), {});
  return file.bad() ? path + ": cannot be read" : "";
}

std::string writeFile(const std::string &path, const Bytes &bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  file.close();
  return file ? "" : path + ": cannot be written";
}

uint64_t readInt(const uint8_t *data, unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; ++i)
    value |= uint64_t(data[i]) << (8 * i);
  return value;
}

void writeInt(Bytes &out, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i)
    out.push_back(uint8_t(value >> (8 * i)));
}

/// What follows `'key':` in the header's dictionary, or null.
const char *valueOf(const std::string &header, const char *key) {
  size_t at = header.find(std::string("'") + key + "'");
  at = at == std::string::npos ? at : header.find(':', at);
  if (at == std::string::npos)
    return nullptr;
  return header.c_str() + header.find_first_not_of(" ", at + 1);
}

std::string parseShape(const char *text, std::vector<int64_t> &shape) {
  if (!text || *text != '(')
    return "has no shape";
  for (++text; *text && *text != ')';) {
    char *end = nullptr;
    const long long size = strtoll(text, &end, 10);
    if (end == text || size < 0)
      return "has a shape that is not a tuple of sizes";
    shape.push_back(size);
    text = end + strspn(end, ", ");
  }
  return *text == ')' ? "" : "has an open shape";
}

void reorderFromFortran(Array &array, size_t elementSize) {
  Bytes ordered(array.bytes.size());
  std::vector<int64_t> index(array.shape.size(), 0);
  for (size_t to = 0; to < ordered.size(); to += elementSize) {
    size_t from = 0, stride = elementSize;
    for (size_t d = 0; d < index.size(); ++d) {
      from += size_t(index[d]) * stride;
      stride *= size_t(array.shape[d]);
    }
    memcpy(&ordered[to], &array.bytes[from], elementSize);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < array.shape[d])
        break;
      index[d] = 0;
    }
  }
  array.bytes = std::move(ordered);
}

std::string parseNpy(const uint8_t *data, size_t size, Array &array) {
  if (size < 12 || memcmp(data, "\x93NUMPY", 6) != 0)
    return "is not a .npy array";
  const bool wide = data[6] >= 2;
  const size_t start = wide ? 12 : 10, length = size_t(readInt(data + 8, wide ? 4 : 2));
  if (length > size - start)
    return "ends within its header";
  const std::string header(reinterpret_cast<const char *>(data + start), length);
  const char *descr = valueOf(header, "descr"), *order = valueOf(header, "fortran_order");
  array = {};
  const TypeCode *code = nullptr;
  for (const TypeCode &candidate : kTypes)
    if (descr && strlen(descr) >= 5 && memcmp(descr + 1, candidate.descr, 3) == 0 && (descr[4] == '\'' || descr[4] == '"'))
      code = &candidate;
  if (!code)
    return "has an element type that models do not take: " + std::string(descr ? std::string(descr).substr(0, 12) : "none");
  array.type = code->type;
  if (std::string fault = parseShape(valueOf(header, "shape"), array.shape); !fault.empty())
    return fault;
  const size_t elementSize = edgecc_type_size(array.type);
  uint64_t bytes = elementSize;
  for (int64_t extent : array.shape)
    if (__builtin_mul_overflow(bytes, uint64_t(extent), &bytes))
      return "has a shape that overflows";
  const size_t available = size - start - length;
  if (bytes != available)
    return "holds " + std::to_string(available) + " bytes, but its shape needs " + std::to_string(bytes);
  array.bytes.assign(data + start + length, data + size);
  if (order && strncmp(order, "True", 4) == 0)
    reorderFromFortran(array, elementSize);
  return "";
}

Bytes formatNpy(const Array &array) {
  const char *descr = "";
  for (size_t i = std::size(kTypes); i-- > 0;)
    if (kTypes[i].type == array.type)
      descr = kTypes[i].descr;
  std::string header = std::string("{'descr': '") + descr + "', 'fortran_order': False, 'shape': (";
  for (int64_t extent : array.shape)
    header += std::to_string(extent) + ", ";
  header += "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  Bytes out = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  writeInt(out, header.size(), 2);
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), array.bytes.begin(), array.bytes.end());
  return out;
}

uint32_t crc32Of(const Bytes &bytes) {
  uint32_t table[256];
  for (uint32_t i = 0; i < 256; ++i) {
    table[i] = i;
    for (int bit = 0; bit < 8; ++bit)
      table[i] = (table[i] >> 1) ^ (table[i] & 1 ? 0xedb88320u : 0);
  }
  uint32_t crc = ~0u;
  for (uint8_t byte : bytes)
    crc = (crc >> 8) ^ table[(crc ^ byte) & 0xff];
  return ~crc;
}

std::string inflateMember(const uint8_t *data, size_t size, Bytes &out) {
#ifdef EDGECC_HAVE_ZLIB
  z_stream stream = {};
  if (size > UINT32_MAX || out.size() > UINT32_MAX || inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    return "cannot be inflated";
  stream.next_in = const_cast<uint8_t *>(data);
  stream.avail_in = uInt(size);
  stream.next_out = out.data();
  stream.avail_out = uInt(out.size());
  const bool whole = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  return whole ? "" : "is damaged: its compressed data do not give the size it says";
#else
  return "is compressed, and this program was built without zlib: save it with numpy.savez";
#endif
}

/// A member's places in the archive, from its entry in the central directory.
struct Member {
  std::string name;
  uint64_t compressed, size, local;
  unsigned method;
};

// Zip64: sizes of all ones stand in an extra field, in this order.
void widen(const uint8_t *extra, size_t length, Member &member) {
  for (size_t at = 0; at + 4 <= length;) {
    const size_t id = readInt(extra + at, 2), size = readInt(extra + at + 2, 2);
    size_t field = at + 4;
    if (id == 1)
      for (uint64_t *value : {&member.size, &member.compressed, &member.local})
        if (*value == UINT32_MAX && field + 8 <= length && field + 8 <= at + 4 + size) {
          *value = readInt(extra + field, 8);
          field += 8;
        }
    at += 4 + size;
  }
}

std::string readMember(const Bytes &file, const Member &member, Array &array) {
  if (member.local > file.size() || file.size() - member.local < 30 || readInt(&file[member.local], 4) != 0x04034b50)
    return "has no header";
  const uint64_t start = member.local + 30 + readInt(&file[member.local + 26], 2) + readInt(&file[member.local + 28], 2);
  if (start > file.size() || member.compressed > file.size() - start)
    return "does not fit in the archive";
  if (member.method == 0)
    return member.compressed == member.size ? parseNpy(file.data() + start, member.size, array) : "has two sizes";
  if (member.method != 8)
    return "is compressed in an unknown way";
  // Deflate gains at most 1032 to 1: a size beyond that is a lie, and is not allocated.
  if (member.size / 1032 > member.compressed + 1)
    return "says a size that its data cannot have";
  Bytes inflated(member.size);
  std::string fault = inflateMember(file.data() + start, member.compressed, inflated);
  return fault.empty() ? parseNpy(inflated.data(), inflated.size(), array) : fault;
}

} // namespace

std::string readNpy(const std::string &path, Array &array) {
  Bytes bytes;
  if (std::string fault = readFile(path, bytes); !fault.empty())
    return fault;
  std::string fault = parseNpy(bytes.data(), bytes.size(), array);
  return fault.empty() ? "" : path + " " + fault;
}

std::string writeNpy(const std::string &path, const Array &array) { return writeFile(path, formatNpy(array)); }

std::string readNpz(const std::string &path, std::map<std::string, Array> &arrays) {
  Bytes file;
  if (std::string fault = readFile(path, file); !fault.empty())
    return fault;
  // The end record is the last thing in the file, but for a comment of up to 65535 bytes.
  size_t end = file.size() < 22 ? 0 : file.size() - 22;
  const size_t stop = end > 65535 ? end - 65535 : 0;
  while (end > stop && readInt(&file[end], 4) != 0x06054b50)
    --end;
  if (file.size() < 22 || readInt(&file[end], 4) != 0x06054b50)
    return path + " is not a .npz archive";
  const size_t count = readInt(&file[end + 10], 2);
  uint64_t at = readInt(&file[end + 16], 4);
  for (size_t i = 0; i < count; ++i) {
    if (at > file.size() || file.size() - at < 46 || readInt(&file[at], 4) != 0x02014b50)
      return path + " has a damaged directory";
    const size_t nameLength = readInt(&file[at + 28], 2), extraLength = readInt(&file[at + 30], 2),
                 commentLength = readInt(&file[at + 32], 2);
    if (file.size() - at - 46 < nameLength + extraLength + commentLength)
      return path + " has a damaged directory";
    Member member = {std::string(file.begin() + long(at) + 46, file.begin() + long(at) + 46 + long(nameLength)),
                     readInt(&file[at + 20], 4), readInt(&file[at + 24], 4), readInt(&file[at + 42], 4),
                     unsigned(readInt(&file[at + 10], 2))};
    widen(file.data() + at + 46 + nameLength, extraLength, member);
    std::string name = member.name;
    if (name.size() > 4 && name.compare(name.size() - 4, 4, ".npy") == 0)
      name.resize(name.size() - 4);
    if (std::string fault = readMember(file, member, arrays[name]); !fault.empty())
      return path + ": '" + member.name + "' " + fault;
    at += 46 + nameLength + extraLength + commentLength;
  }
  return "";
}

std::string writeNpz(const std::string &path, const std::map<std::string, Array> &arrays) {
  Bytes out, directory;
  for (const auto &[key, array] : arrays) {
    const std::string name = key + ".npy";
    const Bytes content = formatNpy(array);
    const size_t local = out.size();
    if (local + content.size() > std::numeric_limits<uint32_t>::max() - 1024)
      return path + ": more than 4 GB do not fit in a .npz: use --output-dir";
    // version 2.0, no flags, stored, 1980-01-01 00:00
    Bytes common;
    for (uint64_t field : {20, 0, 0, 0, 0x21})
      writeInt(common, field, 2);
    writeInt(common, crc32Of(content), 4);
    writeInt(common, content.size(), 4);
    writeInt(common, content.size(), 4);
    writeInt(common, name.size(), 2);
    writeInt(common, 0, 2);
    writeInt(out, 0x04034b50, 4);
    out.insert(out.end(), common.begin(), common.end());
    out.insert(out.end(), name.begin(), name.end());
    out.insert(out.end(), content.begin(), content.end());
    writeInt(directory, 0x02014b50, 4);
    writeInt(directory, 20, 2);
    directory.insert(directory.end(), common.begin(), common.end());
    writeInt(directory, 0, 2); // comment
    writeInt(directory, 0, 2); // disk
    writeInt(directory, 0, 2); // internal attributes
    writeInt(directory, 0, 4); // external attributes
    writeInt(directory, local, 4);
    directory.insert(directory.end(), name.begin(), name.end());
  }
  const size_t start = out.size();
  out.insert(out.end(), directory.begin(), directory.end());
  writeInt(out, 0x06054b50, 4);
  writeInt(out, 0, 4);
  writeInt(out, arrays.size(), 2);
  writeInt(out, arrays.size(), 2);
  writeInt(out, directory.size(), 4);
  writeInt(out, start, 4);
  writeInt(out, 0, 2);
  return writeFile(path, out);
}

} // namespace edgecc::arrays

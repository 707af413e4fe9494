// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/data/npy_layout.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/data/mapped_array.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

using namespace std::string_view_literals;

/// A file of that version, header and data.
std::string npy(const std::string& header, const std::string& data = {}, char version = 1) {
  std::string bytes = std::string("\x93NUMPY") + version + '\0';
  for (int at = 0; at < (version == 1 ? 2 : 4); ++at) bytes += static_cast<char>(header.size() >> (8 * at));
  return bytes + header + data;
}

std::string header(const std::string& type, const std::string& shape) {
  return fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}\n", type, shape);
}

/// All values of the images in a file.
std::vector<float> values(const std::filesystem::path& path) {
  const MappedArray array(path, read_npy_layout(path));
  const auto stride = static_cast<std::size_t>(array.shape().channels * pixel_count(array.shape().size()));
  std::vector<float> all(static_cast<std::size_t>(array.size()) * stride);
  for (std::int64_t index = 0; index < array.size(); ++index) {
    array.read(index, std::span(all).subspan(static_cast<std::size_t>(index) * stride, stride));
  }
  return all;
}

TEST_CASE("read_npy_layout reads what NumPy 2.4.6 wrote") {
  const TemporaryFolder folder;
  // numpy.arange(12, dtype='u1').reshape(2, 1, 2, 3) * 20
  const auto bytes =
      folder.add("bytes.npy", fmt::format("{}{:117}\n{}", "\x93NUMPY\x01\0v\0"sv,
                                          "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 2, 3), }",
                                          "\x00\x14(<Pdx\x8c\xa0\xb4\xc8\xdc"sv));
  CHECK(std::filesystem::file_size(bytes) == 140);
  const ArrayLayout layout = read_npy_layout(bytes);
  CHECK(layout.count == 2);
  CHECK(layout.image == ImageShape{1, 2, 3});
  CHECK(layout.scalar == ArrayScalar::uint8);
  CHECK(layout.offset == 128);
  const std::vector<float> read = values(bytes);
  for (int at = 0; at < 12; ++at) {
    CHECK(read[static_cast<std::size_t>(at)] == static_cast<float>(at * 20) / 127.5F - 1.0F);
  }

  // numpy.arange(4, dtype='<u2').reshape(1, 2, 2) * 20000
  const auto words = folder.add(
      "words.npy", fmt::format("{}{:117}\n{}", "\x93NUMPY\x01\0v\0"sv,
                               "{'descr': '<u2', 'fortran_order': False, 'shape': (1, 2, 2), }", "\0\0 N@\x9c`\xea"sv));
  CHECK(read_npy_layout(words).image == ImageShape{1, 2, 2});
  CHECK(values(words) == std::vector<float>{-1, 20000 / 32767.5F - 1, 40000 / 32767.5F - 1, 60000 / 32767.5F - 1});

  // numpy.array([0.5, -1.25, 3, 0], dtype='<f4').reshape(1, 1, 2, 2), in versions 2 and 3
  for (const char version : {'\2', '\3'}) {
    const auto floats =
        folder.add("floats.npy", fmt::format("\x93NUMPY{}{}{:115}\n{}", version, "\0t\0\0\0"sv,
                                             "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2, 2), }",
                                             "\0\0\0?\0\0\xa0\xbf\0\0@@\0\0\0\0"sv));
    CHECK(std::filesystem::file_size(floats) == 144);
    CHECK(values(floats) == std::vector<float>{0.5F, -1.25F, 3, 0});
  }
}

TEST_CASE("read_npy_layout reads any sound way to write the header") {
  const TemporaryFolder folder;
  const auto layout = [&](const std::string& text) { return read_npy_layout(folder.add("a.npy", npy(text))); };
  for (const char* text : {
           "{\"shape\":(2,3,4,5),\"fortran_order\":False,\"descr\":\"<u2\"}",
           "  { 'descr' : '<u2',\t'shape' : ( 2 , 3 , 4 , 5 , ) , 'fortran_order' : False , }  \n",
           "{'descr': '<u2', 'fortran_order': False, 'shape': (2L, 3L, 4L, 5L)}",
       }) {
    CHECK(layout(text).count == 2);
    CHECK(layout(text).image == ImageShape{3, 4, 5});
    CHECK(layout(text).scalar == ArrayScalar::uint16);
    CHECK(layout(text).offset == 10 + std::string_view(text).size());
  }
}

TEST_CASE("a patch of a huge NPY file is read alone") {
  const TemporaryFolder folder;
  constexpr std::int64_t side = std::int64_t{1} << 18;
  const std::string start = npy(header("<u2", fmt::format("(1, 3, {}, {})", side, side)));
  const std::filesystem::path path = folder.add("a.npy", start);
  const auto size = static_cast<std::int64_t>(start.size()) + 3 * 2 * side * side;
  std::filesystem::resize_file(path, static_cast<std::uintmax_t>(size));  // sparse
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(size - 2) << "\xff\xff";
  const MappedArray array(path, read_npy_layout(path));
  std::vector<float> patch(3 * 2);
  array.read_patch(0, Place::at(side - 1, side - 1), {1, 2}, patch);
  CHECK(patch == std::vector<float>{-1, 0, -1, 0, 1, 0});
}

TEST_CASE("read_npy_layout refuses other files") {
  const TemporaryFolder folder;
  const auto refuses = [&](const std::string& bytes, const std::string& text) {
    const std::filesystem::path path = folder.add("a.npy", bytes);
    CHECK_ERROR(DataError, fmt::format("read_npy_layout: {}: {}", path.string(), text), read_npy_layout(path));
  };
  refuses("", "expected a file that starts with \\x93NUMPY, got another");
  refuses("\x93NUMP", "expected a file that starts with \\x93NUMPY, got another");
  refuses("\x93NUMPY\1", "expected a version, got the end of the file");
  refuses(std::string("\x93NUMPY\4\0\0\0", 10), "expected version 1.0, 2.0 or 3.0, got 4.0");
  refuses("\x93NUMPY\1\1", "expected version 1.0, 2.0 or 3.0, got 1.1");
  refuses(std::string("\x93NUMPY\2\0\0\0\0", 11), "expected a length of the header, got the end of the file");
  refuses(std::string("\x93NUMPY\1\0\x05\0{'de", 14), "expected a header of 5 bytes, got 4");
  refuses(std::string("\x93NUMPY\2\0\xff\xff\xff\xff{", 13),
          "expected a header of at most 10000 bytes, got 4294967295");
  refuses(npy(std::string(10'001, ' ')), "expected a header of at most 10000 bytes, got 10001");

  constexpr const char* types = "expected values of type |u1, <u2 or <f4, got ";
  for (const char* type : {">u2", "<f8", "|b1", "<i2", "|O", ""}) {
    refuses(npy(header(type, "(1, 1, 1, 1)")), fmt::format("{}{}", types, type));
  }
  refuses(npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1, 1, 1, 1), }"),
          fmt::format("{}records", types));
  refuses(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 1, 2, 3), }"),
          "expected 'fortran_order': False, got \"True, 'shape': (2, 1\"");
  refuses(npy(header("|u1", "()")), "expected a shape of [N, C, H, W] or [N, H, W], got []");
  refuses(npy(header("|u1", "(7, 3)")), "expected a shape of [N, C, H, W] or [N, H, W], got [7, 3]");
  refuses(npy(header("|u1", "(1, 2, 3, 4, 5)")), "expected a shape of [N, C, H, W] or [N, H, W], got [1, 2, 3, 4, 5]");
  refuses(npy(header("|u1", "(1, -2, 3, 4)")), "expected sizes from 0 to 2^63 - 1, got \"-2, 3, 4), }\n\"");
  refuses(npy(header("|u1", "(1, 9223372036854775808, 1, 1)")),
          "expected sizes from 0 to 2^63 - 1, got \"9223372036854775808,\"");
  refuses(npy(header("|u1", "(1, a, 1, 1)")), "expected sizes from 0 to 2^63 - 1, got \"a, 1, 1), }\n\"");
  refuses(npy(header("|u1", "1")), "expected ( in the header, got \"1, }\n\"");
  refuses(npy(""), "expected { in the header, got the end of the header");
  refuses(npy("{'descr"), "expected ' in the header, got the end of the header");
  refuses(npy("{'shape': (1, 1, 1) 'descr'"), "expected } in the header, got \"'descr'\"");
  refuses(npy("{'shape': (1 1)}"), "expected ) in the header, got \"1)}\"");
  refuses(npy("{'shape': (1, 1, 1)}"), "expected the keys 'descr', 'fortran_order' and 'shape', got 1");
  refuses(npy("{'shape': (1,), 'shape': (1,)}"), "expected each key once, got 'shape' again");
  refuses(npy("{'kind': 1}"), "expected the keys 'descr', 'fortran_order' and 'shape', got 'kind'");
  refuses(npy(header("|u1", "(1, 1, 1)") + "x"), "expected an end after }, got \"x\"");
  CHECK_THROWS_AS(read_npy_layout(folder / "none"), FileError);
}

TEST_CASE("MappedArray refuses an NPY file that is shorter than its header says") {
  const TemporaryFolder folder;
  const auto refuses = [&](const std::string& shape, const std::string& got) {
    const std::string bytes = npy(header("<f4", shape), std::string(15, '\0'));
    const std::filesystem::path path = folder.add("a.npy", bytes);
    CHECK_ERROR(DataError,
                fmt::format("MappedArray: {}: expected at least {} bytes, got {}", path.string(), got, bytes.size()),
                MappedArray(path, read_npy_layout(path)));
  };
  refuses("(1, 1, 2, 2)", fmt::format("{}", npy(header("<f4", "(1, 1, 2, 2)")).size() + 16));
  // 2^64 values, which a product of 64 bits takes for none.
  refuses("(4294967296, 1, 65536, 65536)", "73786976294838206464");
  const std::filesystem::path empty = folder.add("a.npy", npy(header("<f4", "(0, 1, 2, 2)")));
  CHECK_ERROR(ShapeError, "MappedArray: layout: expected sizes of at least 1, got 0 of 1x2x2",
              MappedArray(empty, read_npy_layout(empty)));
}

}  // namespace
}  // namespace patchdiff

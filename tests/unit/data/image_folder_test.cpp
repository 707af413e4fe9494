// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/data/image_folder.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/data/dataset.hpp>
#include <patchdiff/data/idx_dataset.hpp>
#include <patchdiff/io/png.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/picture_files.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

static_assert(LabelledDataset<ImageFolder>);

/// A grey PNG of one row of pixels.
std::string grey(const std::string& pixels) {
  return png_file({.width = static_cast<std::uint32_t>(pixels.size())}, '\0' + pixels);
}

struct Case {
  TemporaryFolder folder;

  Case() {
    std::filesystem::create_directories(folder / "data/0/deep");
    std::filesystem::create_directories(folder / "data/folder.png");
  }

  std::filesystem::path data() const { return folder / "data"; }
  std::filesystem::path add(const std::string& name, const std::string& bytes) const {
    return folder.add("data/" + name, bytes);
  }

  /// Three sound files, and one that is none of the images.
  void add_three() const {
    add("b.png", grey("ab"));
    add("0/a.jpeg", jpeg_file(1, 2, 1, "ee", 100));
    add("Z.PNG", grey("cd"));
    add("readme.txt", "not an image");
  }

  ImageFolderOptions labelled(const std::string& json) const { return {.labels = add("dataset.json", json)}; }

  void refuses(const std::filesystem::path& argument, const std::string& text, ImageFolderOptions options = {}) const {
    CHECK_ERROR(DataError, fmt::format("ImageFolder: {}: {}", argument.string(), text), ImageFolder(data(), options));
  }
};

std::vector<std::string> names(const ImageFolder& images) {
  std::vector<std::string> all;
  for (std::int64_t index = 0; index < images.size(); ++index) all.push_back(images.name(index));
  return all;
}

std::vector<float> read(const ImageFolder& images, std::int64_t index) {
  std::vector<float> out(static_cast<std::size_t>(images.shape().channels * pixel_count(images.shape().size())));
  images.read(index, out);
  return out;
}

float of_byte(int value) { return static_cast<float>(value) / 127.5F - 1.0F; }

TEST_CASE_METHOD(Case, "ImageFolder orders its images by the bytes of their paths") {
  add_three();
  add("0/deep/c.jpg", jpeg_file(1, 2, 1, "ff", 100));
  const ImageFolder images(data());
  CHECK(names(images) == std::vector<std::string>{"0/a.jpeg", "0/deep/c.jpg", "Z.PNG", "b.png"});
  CHECK(images.size() == 4);
  CHECK(images.shape() == ImageShape{1, 1, 2});
  CHECK(images.class_count() == 0);
  CHECK(images.skipped().empty());
  CHECK(read(images, 0) == std::vector<float>{of_byte('e'), of_byte('e')});
  CHECK(read(images, 2) == std::vector<float>{of_byte('c'), of_byte('d')});
  CHECK(names(ImageFolder(data() / "")) == names(images));
}

TEST_CASE_METHOD(Case, "ImageFolder hands out planes of 8 and 16 bits") {
  add("a.png", png_file({.width = 2, .colours = 2}, std::string("\0\x00\x01\x02\xfd\xfe\xff", 7)));
  add("b.png", png_file({.width = 2, .depth = 16, .colours = 2},
                        std::string("\0\x00\x00\x00\x01\x00\x02\xff\xfd\xff\xfe\xff\xff", 13)));
  const ImageFolder images(data());
  CHECK(images.shape() == ImageShape{3, 1, 2});
  CHECK(read(images, 0) ==
        std::vector<float>{of_byte(0), of_byte(253), of_byte(1), of_byte(254), of_byte(2), of_byte(255)});
  const auto of_word = [](int value) { return static_cast<float>(value) / 32767.5F - 1.0F; };
  CHECK(read(images, 1) ==
        std::vector<float>{of_word(0), of_word(65533), of_word(1), of_word(65534), of_word(2), of_word(65535)});
  CHECK(of_byte(0) == -1);
  CHECK(of_byte(255) == 1);
}

TEST_CASE_METHOD(Case, "every byte is the same float as in memory") {
  std::string bytes;
  std::vector<float> expected;
  for (int value = 0; value < 256; ++value) {
    bytes += static_cast<char>(value);
    expected.push_back(of_byte(value));
  }
  add("a.png", grey(bytes));
  CHECK(read(ImageFolder(data()), 0) == expected);
}

TEST_CASE_METHOD(Case, "ImageFolder takes labels from EDM's dataset.json") {
  add_three();
  const ImageFolder images(data(), labelled(R"({"labels": [["b.png", 1], ["Z.PNG", 0], ["0/a.jpeg", 2]]})"));
  CHECK(images.class_count() == 3);
  CHECK(images.label(0) == 2);
  CHECK(images.label(1) == 0);
  CHECK(images.label(2) == 1);
  const ImageFolder none(data(), labelled(R"({"labels": null})"));
  CHECK(none.class_count() == 0);
  CHECK_ERROR(DataError, "ImageFolder: labels: expected labels, got none", none.label(0));
}

TEST_CASE_METHOD(Case, "ImageFolder refuses labels that do not fit the files") {
  add_three();
  const std::filesystem::path json = data() / "dataset.json";
  refuses(json, fmt::format("expected pictures in {}, got \"c.png\"", data().string()),
          labelled(R"({"labels": [["b.png", 1], ["Z.PNG", 0], ["0/a.jpeg", 2], ["c.png", 0]]})"));
  refuses(json, fmt::format("expected pictures in {}, got \"../b.png\"", data().string()),
          labelled(R"({"labels": [["b.png", 1], ["Z.PNG", 0], ["0/a.jpeg", 2], ["../b.png", 0]]})"));
  refuses(json, "expected a label of \"0/a.jpeg\", got none", labelled(R"({"labels": [["b.png", 1], ["Z.PNG", 0]]})"));
  refuses(json, "expected images of each class from 0 to 2000000000, got none of class 1",
          labelled(R"({"labels": [["b.png", 0], ["Z.PNG", 2000000000], ["0/a.jpeg", 0]]})"));

  ImageFolderOptions two = labelled(R"({"labels": [["b.png", 0], ["Z.PNG", 2], ["0/a.jpeg", 0]]})");
  refuses(json, "expected images of each class from 0 to 2, got none of class 1", two);
  two.class_count = 2;
  refuses(json, "expected classes less than 2, got 2 of \"Z.PNG\"", two);
  two.class_count = 5;
  CHECK(ImageFolder(data(), two).class_count() == 5);
  CHECK_ERROR(ConfigError, "ImageFolder: class_count: expected 0 or more, got -1",
              ImageFolder(data(), {.class_count = -1}));
}

TEST_CASE_METHOD(Case, "ImageFolder refuses folders without images, and images of different shapes") {
  refuses(data(), "expected PNG or JPEG files, got none");
  CHECK_ERROR(FileError,
              fmt::format("ImageFolder: {}: expected a readable folder, got \"No such file or directory\"",
                          (folder / "none").string()),
              ImageFolder(folder / "none"));
  add_three();
  const std::filesystem::path longer = add("c.png", grey("abc"));
  for (const RefusedFiles policy : {RefusedFiles::stop, RefusedFiles::skip}) {
    refuses(longer, "expected an image of 1x1x2, as the first is, got 1x1x3", {.refused = policy});
  }
  const std::filesystem::path colour = add("c.png", png_file({.width = 2, .colours = 2}, std::string(7, '\0')));
  refuses(colour, "expected an image of 1x1x2, as the first is, got 3x1x2");
  std::filesystem::remove(colour);
  std::filesystem::create_symlink("nowhere", data() / "d.png");
  for (const RefusedFiles policy : {RefusedFiles::stop, RefusedFiles::skip}) {
    CHECK_THROWS_AS(ImageFolder(data(), {.refused = policy}), FileError);
  }
}

TEST_CASE_METHOD(Case, "ImageFolder stops at files that cannot be read") {
  add_three();
  const std::string sound = jpeg_file(1, 2, 1, "ee");
  const std::filesystem::path path = add("c.jpg", sound.substr(0, sound.size() - 3));
  const std::string message =
      fmt::format("read_picture: {}: expected a sound JPEG file, got \"Premature end of JPEG file\"", path.string());
  // The header is sound: the pixels are looked at when they are read.
  const ImageFolder images(data());
  CHECK(images.size() == 4);
  std::vector<float> out(2);
  CHECK_NOTHROW(images.read(2, out));
  CHECK_ERROR(DataError, message, images.read(3, out));
  add("c.jpg", sound.substr(0, 20));
  CHECK_ERROR(DataError, message, ImageFolder(data()));
}

TEST_CASE_METHOD(Case, "ImageFolder skips and lists files that cannot be read") {
  add_three();
  const std::string sound = jpeg_file(1, 2, 1, "ee");
  add("0/0.png", "GIF89a");
  add("c.jpg", sound.substr(0, sound.size() - 3));
  add("d.jpg", jpeg_file(1, 2, 4, "abcdefgh"));
  ImageFolderOptions options = labelled(
      R"({"labels": [["0/0.png", 0], ["b.png", 1], ["Z.PNG", 0], ["0/a.jpeg", 2], ["c.jpg", 1], ["d.jpg", 2]]})");
  options.refused = RefusedFiles::skip;
  const ImageFolder images(data(), options);
  CHECK(names(images) == std::vector<std::string>{"0/a.jpeg", "Z.PNG", "b.png"});
  CHECK(images.label(0) == 2);
  CHECK(images.label(1) == 0);
  CHECK(images.label(2) == 1);
  const auto line = [&](const char* name, const char* reason) {
    return fmt::format("read_picture: {}: {}", (data() / name).string(), reason);
  };
  CHECK(images.skipped() ==
        std::vector<std::string>{
            line("0/0.png", "expected a PNG or JPEG file, got one that starts with 47 49 46 38 39 61"),
            line("c.jpg", "expected a sound JPEG file, got \"Premature end of JPEG file\""),
            line("d.jpg", "expected a grey or RGB picture, got CMYK")});

  // A class whose only images were skipped is an empty one.
  options.labels = add("dataset.json", R"({"labels": [["0/0.png", 0], ["b.png", 1], ["Z.PNG", 0], ["0/a.jpeg", 0],
                                                      ["c.jpg", 1], ["d.jpg", 2]]})");
  refuses(options.labels, "expected images of each class from 0 to 2, got none of class 2", options);

  // What goes bad later stops the run: the number of images stays.
  const std::filesystem::path gone = add("Z.PNG", "");
  std::vector<float> out(2);
  CHECK_ERROR(DataError, line("Z.PNG", "expected a PNG or JPEG file, got an empty file"), images.read(1, out));
  add("Z.PNG", grey("abc"));
  CHECK_ERROR(DataError,
              fmt::format("ImageFolder: {}: expected an image of 1x1x2, as the first is, got 1x1x3", gone.string()),
              images.read(1, out));
}

TEST_CASE_METHOD(Case, "ImageFolder refuses a folder of which nothing can be read") {
  const std::filesystem::path path = add("a.png", "");
  add("b.png", "");
  refuses(data(),
          fmt::format("expected a sound picture, got 2 refused: read_picture: {}: expected a PNG or JPEG file, got an "
                      "empty file",
                      path.string()),
          {.refused = RefusedFiles::skip});
}

TEST_CASE_METHOD(Case, "ImageFolder refuses indices and buffers that do not fit") {
  add_three();
  const ImageFolder images(data());
  std::vector<float> out(2);
  CHECK_ERROR(DataError, "ImageFolder: index: expected 0 to 2, got 3", images.read(3, out));
  CHECK_ERROR(DataError, "ImageFolder: index: expected 0 to 2, got -1", images.label(-1));
  out.resize(3);
  CHECK_ERROR(ShapeError, "ImageFolder: out: expected 2 values, got 3", images.read(0, out));
}

TEST_CASE_METHOD(Case, "Fashion-MNIST as PNG files is the data set, and as JPEG files close to it") {
  const std::filesystem::path source = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(source)) return;
  const ArrayDataset stored = read_idx_dataset(
      {.images = source / "t10k-images-idx3-ubyte.gz", .labels = source / "t10k-labels-idx1-ubyte.gz"});
  constexpr std::int64_t count = 1000;
  std::string json = R"({"labels": [)";
  std::filesystem::create_directories(folder / "jpeg/0");
  for (std::int64_t index = 0; index < count; ++index) {
    const auto pixels = stored.pixels(index);
    const std::vector<std::byte> png = encode_png({stored.shape(), {pixels.begin(), pixels.end()}});
    const std::string name = fmt::format("0/{:05}", index);
    add(name + ".png", {reinterpret_cast<const char*>(png.data()), png.size()});
    folder.add("jpeg/" + name + ".jpg", jpeg_file(28, 28, 1, {pixels.begin(), pixels.end()}));
    json += fmt::format(R"({}["{}.png", {}])", index == 0 ? "" : ", ", name, stored.label(index));
  }
  const ImageFolder images(data(), labelled(json + "]}"));
  const ImageFolder lossy(folder / "jpeg", {.refused = RefusedFiles::skip});
  REQUIRE(images.size() == count);
  REQUIRE(lossy.size() == count);
  REQUIRE(images.shape() == stored.shape());
  CHECK(images.class_count() == 10);
  std::vector<float> expected(28 * 28);
  double squares = 0;
  for (std::int64_t index = 0; index < count; ++index) {
    stored.read(index, expected);
    CHECK(read(images, index) == expected);
    CHECK(images.label(index) == stored.label(index));
    const std::vector<float> near = read(lossy, index);
    for (std::size_t at = 0; at < near.size(); ++at) squares += std::pow(near[at] - expected[at], 2);
  }
  const double error = std::sqrt(squares / (count * 28 * 28));
  INFO("root mean square error of JPEG: " << error);
  CHECK(error < 0.02);  // 2.5 of 255 steps
  CHECK(error > 0);
}

}  // namespace
}  // namespace patchdiff

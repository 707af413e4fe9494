// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <patchdiff/data/data_order.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/metrics/kernel_distance.hpp>

#include "cli/run_patchdiff.hpp"
#include "cli/small_run.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/files.hpp"
#include "support/temporary_folder.hpp"

namespace fs = std::filesystem;
using namespace patchdiff;

namespace {

using Json = nlohmann::json;

/// A TorchScript network with this body of `forward(self, x)`.
fs::path script(const TemporaryFolder& folder, const std::string& body) {
  const fs::path file = folder / "network.pt";
  const std::string forward = fmt::format("def forward(self, x):\n  {}\n", body);
  REQUIRE(ChildProcess({PATCHDIFF_WRITE_TORCH_SCRIPT, file, forward}).wait().code == 0);
  return file;
}

/// Images of 2x2 pixels with the values v, 255 - v, 0 and w, of classes in turn.
struct PlainImages {
  std::string pixels{};
  std::string labels{};
  std::vector<std::array<double, 2>> features{};  ///< mean and mean square of the pixels in [-1, 1]

  PlainImages(int count, int first, int classes, int darkest = 0, int brightest = 255) {
    for (int image = 0; image < count; ++image) {
      const int v = (first + 37 * image * image) % 101, w = darkest + (first + 53 * image) % (brightest - darkest);
      double sum = 0, squares = 0;
      for (const int value : {v, 255 - v, 0, w}) {
        pixels.push_back(static_cast<char>(value));
        const double x = value / 127.5 - 1;
        sum += x / 4;
        squares += x * x / 4;
      }
      labels.push_back(static_cast<char>(image % classes));
      features.push_back({sum, squares});
    }
  }
};

constexpr const char* plain_features = "return torch.stack([x.mean([1, 2, 3]), (x * x).mean([1, 2, 3])], 1)";

void write_plain(const fs::path& folder, const std::string& split, const PlainImages& images) {
  const auto count = static_cast<char>(images.labels.size());
  fs::create_directories(folder);
  std::ofstream(folder / (split + "-images-idx3-ubyte"), std::ios::binary)
      << std::string("\0\0\x08\x03\0\0\0", 7) << count << std::string("\0\0\0\2\0\0\0\2", 8) << images.pixels;
  std::ofstream(folder / (split + "-labels-idx1-ubyte"), std::ios::binary)
      << std::string("\0\0\x08\x01\0\0\0", 7) << count << images.labels;
}

using Vectors = std::vector<std::array<double, 2>>;

/// Two features have a Fréchet distance in closed form: tr (S1 S2)^1/2 = (tr S1 S2 + 2 (det S1 S2)^1/2)^1/2.
double plain_frechet(const Vectors& x, const Vectors& y) {
  struct Moments {
    double mean[2]{}, xx = 0, xy = 0, yy = 0;
    explicit Moments(const Vectors& all) {
      const auto count = static_cast<double>(all.size());
      for (const auto& [a, b] : all) {
        mean[0] += a / count;
        mean[1] += b / count;
      }
      for (const auto& [a, b] : all) {
        xx += (a - mean[0]) * (a - mean[0]) / (count - 1);
        xy += (a - mean[0]) * (b - mean[1]) / (count - 1);
        yy += (b - mean[1]) * (b - mean[1]) / (count - 1);
      }
    }
    double determinant() const { return xx * yy - xy * xy; }
  };
  const Moments a(x), b(y);
  const double product = a.xx * b.xx + 2 * a.xy * b.xy + a.yy * b.yy;
  const double root = std::sqrt(product + 2 * std::sqrt(a.determinant() * b.determinant()));
  return std::pow(a.mean[0] - b.mean[0], 2) + std::pow(a.mean[1] - b.mean[1], 2) + a.xx + a.yy + b.xx + b.yy - 2 * root;
}

/// The share of `queries` that are as near to one of `centres` as its third nearest neighbour there.
double plain_share(const Vectors& centres, const Vectors& queries) {
  const auto distance = [](const auto& a, const auto& b) { return std::hypot(a[0] - b[0], a[1] - b[1]); };
  std::vector<double> radii;
  for (const auto& centre : centres) {
    std::vector<double> all;
    for (const auto& other : centres) all.push_back(distance(centre, other));
    std::sort(all.begin(), all.end());
    radii.push_back(all[3]);  // the first is the centre itself
  }
  double inside = 0;
  for (const auto& query : queries) {
    for (std::size_t i = 0; i < centres.size(); ++i) {
      if (distance(query, centres[i]) > radii[i]) continue;
      ++inside;
      break;
    }
  }
  return inside / static_cast<double>(queries.size());
}

/// In the order in which the program takes images.
Vectors in_order(const Vectors& features, std::size_t count) {
  const DataOrder order({}, features.size());
  Vectors ordered;
  for (std::size_t position = 0; position < count; ++position) ordered.push_back(features[order(position)]);
  return ordered;
}

FeatureSet set_of(const Vectors& vectors) {
  FeatureSet set(2);
  for (const auto& vector : vectors) set.add(vector);
  return set;
}

Json json_of(const fs::path& file) { return Json::parse(bytes_of(file)); }

void check_figures(const Json& figures, const Vectors& reference, const Vectors& images) {
  CHECK(figures["images"] == images.size());
  CHECK(figures["reference_images"] == reference.size());
  CHECK(figures["frechet_distance"]["value"].get<double>() ==
        Approx(plain_frechet(reference, images)).epsilon(1e-4).margin(1e-6));
  const std::size_t both = std::min(reference.size(), images.size());
  const Vectors part(images.begin(), images.begin() + static_cast<std::ptrdiff_t>(both));
  const Vectors real(reference.begin(), reference.begin() + static_cast<std::ptrdiff_t>(both));
  CHECK(figures["precision"]["value"].get<double>() == Approx(plain_share(real, part)));
  CHECK(figures["recall"]["value"].get<double>() == Approx(plain_share(part, real)));
  const auto subset = static_cast<std::int64_t>(both / 2);
  CHECK(figures["kernel_distance"]["subset_size"] == subset);
  const KernelDistance kernel = kernel_distance(set_of(reference), set_of(images), {.subset_size = subset});
  CHECK(figures["kernel_distance"]["value"].get<double>() == Approx(kernel.mean).epsilon(1e-3).margin(1e-5));
  CHECK(figures["kernel_distance"]["deviation"].get<double>() == Approx(kernel.deviation).epsilon(1e-3));
}

std::vector<std::string> evaluate(const fs::path& data, const std::vector<std::string>& more) {
  return joined({"evaluate", "--data", data, "--threads", "1"}, more);
}

double frechet(const Json& judged) { return judged["frechet_distance"]["value"].get<double>(); }

}  // namespace

TEST_CASE("evaluate's figures are those of plain formulas, for all images and for each class") {
  const TemporaryFolder folder;
  const PlainImages train(110, 5, 2, 0, 180), test(120, 9, 2, 90);
  write_plain(folder / "data", "train", train);
  write_plain(folder / "data", "t10k", test);
  const Finished finished =
      run_patchdiff(evaluate(folder / "data", {"--features", script(folder, plain_features), "--count", "100",
                                               "--per-class", "--out", folder / "figures.json"}));
  CHECK(finished.err ==
        "patchdiff: evaluate: test images of class \"0\": expected at least 100 for the other figures to say much, got "
        "60\npatchdiff: evaluate: training images of class \"0\": expected at least 100 for the other figures to say "
        "much, got 50\n");
  REQUIRE(finished.code == 0);
  const Json json = json_of(folder / "figures.json");
  CHECK(json["features"]["dimension"] == 2);
  CHECK(json["test_images"] == 120);
  CHECK(json["settings"] == Json{{"count", 100}, {"bootstrap", 0}});  // of no samples
  REQUIRE(json["judged"].size() == 1);
  const Json& judged = json["judged"][0];
  CHECK(judged["name"] == "training images");
  CHECK_FALSE(judged["frechet_distance"].contains("interval"));
  const Vectors real = in_order(test.features, 120), images = in_order(train.features, 100);
  check_figures(judged, real, images);

  // Each image's class is the parity of its index.
  const auto of_class = [](const Vectors& features, std::size_t count, std::size_t label) {
    const DataOrder order({}, features.size());
    Vectors chosen;
    for (std::size_t position = 0; position < count; ++position) {
      if (order(position) % 2 == label) chosen.push_back(features[order(position)]);
    }
    return chosen;
  };
  REQUIRE(judged["classes"].size() == 2);
  for (const std::size_t label : {0U, 1U}) {
    CHECK(judged["classes"][label]["class"] == std::to_string(label));
    check_figures(judged["classes"][label], of_class(test.features, 120, label), of_class(train.features, 100, label));
  }

  CHECK_THAT(finished.out, ContainsSubstring("2 features of " + (folder / "network.pt").string() +
                                             ", beside 120 test images\n                 images  ") &&
                               ContainsSubstring(fmt::format("\ntraining images     100  {:.4g}  ", frechet(judged))) &&
                               ContainsSubstring("\n  0                  50  "));
}

TEST_CASE("evaluate tells how sure its figures are") {
  const TemporaryFolder folder;
  write_plain(folder / "data", "train", PlainImages(120, 5, 2, 0, 180));
  write_plain(folder / "data", "t10k", PlainImages(120, 9, 2, 90));
  const Finished finished =
      run_patchdiff(evaluate(folder / "data", {"--features", script(folder, plain_features), "--count", "120",
                                               "--bootstrap", "500", "--out", folder / "figures.json"}));
  CHECK(finished.err == "");
  REQUIRE(finished.code == 0);
  const Json judged = json_of(folder / "figures.json")["judged"][0];
  for (const char* name : {"frechet_distance", "precision", "recall"}) {
    const double value = judged[name]["value"], lower = judged[name]["interval"][0],
                 upper = judged[name]["interval"][1];
    CHECK(lower < value);
    CHECK(value < upper);
  }
  // A share of independent images has a binomial interval.
  const double precision = judged["precision"]["value"];
  const double width =
      judged["precision"]["interval"][1].get<double>() - judged["precision"]["interval"][0].get<double>();
  CHECK(width == Approx(2 * 1.96 * std::sqrt(precision * (1 - precision) / 120)).epsilon(0.15));
  CHECK_THAT(finished.out, ContainsSubstring(fmt::format("{:.4g} ({:.4g} to ", precision,
                                                         judged["precision"]["interval"][0].get<double>())));
}

TEST_CASE("evaluate judges a model's samples and a folder of drawn images") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  // The training images as files, in the same order, with a black border as of a model's images.
  fs::create_directory(folder / "drawn");
  const IdxArray stored = read_idx(run.data / "train-images-idx3-ubyte", {.rank = 3});
  for (std::size_t image = 0; image < 120; ++image) {
    Picture picture{.shape = {1, 32, 32}, .pixels = std::vector<std::uint8_t>(32 * 32)};
    for (std::size_t pixel = 0; pixel < 28 * 28; ++pixel) {
      picture.pixels[(pixel / 28 + 2) * 32 + pixel % 28 + 2] = stored.values[image * 28 * 28 + pixel];
    }
    write_png(folder / "drawn" / fmt::format("{:03}.png", image), picture);
  }
  const auto judged = [&](const std::vector<std::string>& more) {
    const Finished finished =
        run_patchdiff(evaluate(run.data, joined({"--model", run.model, "--images", folder / "drawn", "--count", "120",
                                                 "--steps", "2", "--out", folder / "figures.json"},
                                                more)));
    CHECK(finished.err == "");
    REQUIRE(finished.code == 0);
    CHECK_THAT(finished.out, ContainsSubstring("64 features of Fashion-MNIST, beside 120 test images; samples by 2 "
                                               "steps of heun, guidance "));
    return json_of(folder / "figures.json");
  };
  const Json json = judged({});
  CHECK(json["model"] == run.model.string());
  CHECK(json["settings"]["steps"] == 2);
  CHECK(json["settings"]["guidance"] == 1);
  REQUIRE(json["judged"].size() == 3);
  Json training = json["judged"][0], samples = json["judged"][1], drawn = json["judged"][2];
  CHECK(training["name"] == "training images");
  CHECK(samples["name"] == "samples");
  CHECK(drawn["name"] == "drawn images");
  drawn["name"] = training["name"];
  CHECK(drawn == training);
  // A model of 60 images draws noise.
  CHECK(frechet(training) > 0);
  CHECK(frechet(samples) > 3 * frechet(training));
  CHECK(samples["recall"]["value"] < 0.1);

  // Samples have the labels of as many training images.
  REQUIRE(run_patchdiff(evaluate(run.data, {"--model", run.model, "--count", "120", "--steps", "1", "--per-class",
                                            "--out", folder / "classes.json"}))
              .code == 0);
  const Json classes = json_of(folder / "classes.json")["judged"];
  for (std::size_t label = 0; label < 3; ++label) {
    CHECK(classes[0]["classes"][label]["class"] == std::vector<std::string>{"shirt", "trousers", "pullover"}[label]);
    CHECK(classes[0]["classes"][label]["images"] > 30);
    CHECK(classes[1]["classes"][label]["images"] == classes[0]["classes"][label]["images"]);
  }

  CHECK(judged({}) == json);
  // Beside themselves, images could not be nearer.
  const Json itself = judged({"--test", folder / "drawn"})["judged"][0];
  CHECK(frechet(itself) < 1e-3 * frechet(training));
  CHECK(itself["precision"]["value"] == 1);
  CHECK(itself["recall"]["value"] == 1);
  CHECK(judged({"--seed", "1"})["judged"][0] == training);
  CHECK(frechet(judged({"--seed", "1"})["judged"][1]) != frechet(samples));
  CHECK(frechet(judged({"--guidance", "3"})["judged"][1]) != frechet(samples));
}

TEST_CASE("features writes a network that evaluate takes") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  const auto trained = [&](const std::string& name, const std::string& seed) {
    const Finished finished = run_patchdiff(
        {"features", "--data", run.data, "--out", folder / name, "--epochs", "20", "--seed", seed, "--threads", "1"});
    CHECK(finished.err == "");
    REQUIRE(finished.code == 0);
    return finished.out;
  };
  const std::string out = trained("a.safetensors", "3");
  const std::string begin =
      "wrote " + (folder / "a.safetensors").string() + ": 64 features of images of 1x32x32\ntells the class of ";
  CHECK_THAT(out, ContainsSubstring(begin));
  CHECK(std::stod(out.substr(out.find(begin) + begin.size())) > 60);  // of three classes
  trained("b.safetensors", "3");
  trained("c.safetensors", "4");
  CHECK(folder.read("a.safetensors") == folder.read("b.safetensors"));
  CHECK(folder.read("a.safetensors") != folder.read("c.safetensors"));

  const auto figure = [&](const std::string& name) {
    const Finished finished = run_patchdiff(
        evaluate(run.data, {"--features", folder / name, "--count", "120", "--out", folder / "figures.json"}));
    CHECK(finished.err == "");
    CHECK_THAT(finished.out, ContainsSubstring("64 features of " + (folder / name).string()));
    return frechet(json_of(folder / "figures.json")["judged"][0]);
  };
  CHECK(figure("a.safetensors") > 0);
  CHECK(figure("a.safetensors") != figure("c.safetensors"));
}

TEST_CASE("evaluate warns of figures that say little") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  const auto warnings = [&](const fs::path& data, const std::vector<std::string>& more) {
    const Finished finished = run_patchdiff(evaluate(data, joined(more, {"--out", folder / "figures.json"})));
    CHECK(finished.code == 0);
    return finished.err;
  };
  const std::string few = "patchdiff: evaluate: training images: expected ";
  CHECK(warnings(run.data, {"--count", "30"}) ==
        few + "more than 64 for a Fréchet distance of as many features, got 30\n" + few +
            "at least 100 for the other figures to say much, got 30\n");
  // Class 2 has neither test images nor figures.
  PlainImages train(120, 5, 3), test(120, 9, 3);
  for (char& label : test.labels) label = label == 2 ? 0 : label;
  test.labels.back() = 3;
  write_plain(folder / "data", "train", train);
  write_plain(folder / "data", "t10k", test);
  const std::string network = script(folder, plain_features);
  CHECK(refusal(evaluate(folder / "data", {"--features", network, "--count", "120", "--per-class"})) ==
        "evaluate: test images: expected labels of at most 3 classes, got 4");
  test.labels.back() = 0;
  write_plain(folder / "data", "t10k", test);
  CHECK(warnings(folder / "data", {"--features", network, "--count", "120", "--per-class"}) ==
        "patchdiff: evaluate: test images of class \"2\": expected at least 4, got 0\n"
        "patchdiff: evaluate: training images of class \"0\": expected at least 100 for the other figures to say much, "
        "got 40\n");
  const Json classes = json_of(folder / "figures.json")["judged"][0]["classes"];
  CHECK(classes[1]["frechet_distance"].is_object());
  for (const char* name : {"frechet_distance", "kernel_distance", "precision", "recall"})
    CHECK(classes[2][name].is_null());
}

TEST_CASE("evaluate refuses what it cannot judge") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  const fs::path data = write_small_data(folder / "data");
  const auto with = [&](const std::vector<std::string>& more) { return refusal(evaluate(data, more)); };
  CHECK(refusal({"evaluate", "--model", run.model}, 2).starts_with("evaluate: --data: expected training images, as "));
  CHECK(with({"--steps", "0"}) == "evaluate: --steps: expected at least 1, got 0");
  CHECK(with({"--count", "3"}) == "evaluate: --count: expected at least 4, got 3");
  CHECK(with({"--bootstrap", "1"}) == "evaluate: --bootstrap: expected 0, or at least 2, got 1");
  CHECK(with({"--guidance", "inf"}) == "evaluate: --guidance: expected a finite value, got inf");
  for (const auto& [option, value] : {std::pair<std::string, std::string>{"--solver", "euler"},
                                      {"--steps", "3"},
                                      {"--guidance", "2"},
                                      {"--seed", "5"}}) {
    CHECK(with({option, value}) == "evaluate: " + option + ": expected none without --model, got one");
  }
  CHECK(with({"--model", run.model, "--out", run.model}) ==
        "evaluate: --out: expected another file than --model, got \"" + run.model.string() + "\"");
  CHECK(refusal(evaluate(data, {"--count", "500"}), 1) ==
        "evaluate: training images: expected at least 500, as of --count, got 120");
  CHECK_THAT(
      with({"--out", folder / "none/figures.json"}),
      ContainsSubstring("evaluate: " + (folder / "none/figures.json").string() + ": expected a writable folder"));

  // Images of other sizes, and of none.
  fs::create_directory(folder / "drawn");
  CHECK(with({"--images", folder / "drawn"}) ==
        "ImageFolder: " + (folder / "drawn").string() + ": expected PNG or JPEG files, got none");
  write_png(folder / "drawn/small.png", {.shape = {1, 20, 32}, .pixels = std::vector<std::uint8_t>(20 * 32)});
  CHECK(with({"--images", folder / "drawn", "--count", "4"}) ==
        "evaluate: drawn images: expected images of 1x28x28, as those of training, or with a border, got 1x20x32");
  write_png(folder / "drawn/small.png", {.shape = {1, 32, 32}, .pixels = std::vector<std::uint8_t>(32 * 32)});
  CHECK(with({"--images", folder / "drawn", "--count", "10"}) ==
        "evaluate: drawn images: expected at least 10, as of --count, got 1");
  for (const char* name : {"b.png", "c.png", "d.png"}) fs::copy(folder / "drawn/small.png", folder / "drawn" / name);
  CHECK(with({"--images", folder / "drawn", "--count", "4", "--per-class"}) ==
        "evaluate: drawn images: expected labels of at most 3 classes, got none");

  // Before any features are computed.
  write_plain(folder / "few", "train", PlainImages(20, 5, 2));
  write_plain(folder / "few", "t10k", PlainImages(3, 5, 2));
  CHECK(refusal(evaluate(folder / "few", {"--count", "10"})) == "evaluate: test images: expected at least 4, got 3");
  const std::string trained_on =
      Json::parse(SafetensorsReader(run.model).metadata().at("patchdiff_program"))["data"].get<std::string>();
  const fs::path of_any_data = changed_model(folder, "patchdiff_program", trained_on, "");
  write_plain(folder / "few", "t10k", PlainImages(20, 5, 2));
  CHECK(refusal(evaluate(folder / "few", {"--count", "10", "--model", of_any_data})) ==
        "evaluate: --data: expected images in 3 classes, as of the model, got 2");
  fs::remove(of_any_data);
  fs::remove_all(folder / "few");

  fs::remove(data / "train-labels-idx1-ubyte");
  CHECK(with({"--per-class", "--count", "4"}) == "evaluate: --per-class: expected images with labels, got none");
  fs::remove(data / "t10k-images-idx3-ubyte");
  CHECK(with({}) == "evaluate: --test: expected images, as --data has no t10k-images-idx3-ubyte, got none");
  CHECK(with({"--test", folder / "none"}) ==
        "evaluate: --test: expected a folder with train-images-idx3-ubyte or .gz, or with PNG or JPEG files, or an NPY "
        "file, got \"" +
            (folder / "none").string() + "\"");
  CHECK(folder.count() == 2);
}

TEST_CASE("evaluate refuses files that are no network of features for its images") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  const auto with = [&](const fs::path& file, const std::vector<std::string>& more = {}) {
    return refusal(evaluate(run.data, joined({"--features", file, "--count", "10"}, more)));
  };
  const std::string expected = ": expected a TorchScript file, or one that patchdiff features wrote, got ";
  CHECK(with(folder.add("text", "no network")) ==
        "features: " + (folder / "text").string() + expected + "another file");
  CHECK(with(folder.add("empty", "")) == "features: " + (folder / "empty").string() + expected + "another file");
  CHECK(with(run.model) == "load_feature_classifier: " + run.model.string() +
                               ": expected network \"FeatureClassifier\", got \"SongUNet\"");
  CHECK_THAT(with(folder / "none"), ContainsSubstring("features: " + (folder / "none").string() + ": expected "));
  CHECK_THAT(with(folder.add("zip", "PK\x03\x04 and no archive")),
             ContainsSubstring("TorchScriptFeatures: " + (folder / "zip").string() + ": expected a TorchScript file"));
  const fs::path network = script(folder, "return x");
  const std::string name = "TorchScriptFeatures: " + network.string();
  CHECK(with(network) == name + ": expected output [2, features], got Float [2, 1, 28, 28]");
  CHECK(with(network, {"--features-image", "3,20,10"}) ==
        name + ": expected output [2, features], got Float [2, 3, 20, 10]");
  CHECK(with(network, {"--features-image", "3,20"}) ==
        "evaluate: --features-image: expected channels,height,width, got 2 numbers");
  CHECK(with(network, {"--features-mean", "0.5,0.5"}) == "TorchScriptFeatures: mean: expected 1 values or none, got 2");
  // A comparison takes NaN for a perfect score.
  CHECK_THAT(with(script(folder, "return x.mean([2, 3]) * float(\"nan\")")),
             ContainsSubstring("FeatureSet: features: expected finite values, got "));

  write_plain(folder / "data", "train", PlainImages(20, 5, 2));
  write_plain(folder / "data", "t10k", PlainImages(20, 5, 2));
  REQUIRE(run_patchdiff({"features", "--data", folder / "data", "--out", folder / "small", "--threads", "1"}).code ==
          0);
  CHECK(with(folder / "small") ==
        "features: " + (folder / "small").string() + ": expected a network for images of 1x28x28, got one for 1x8x8");
  // Settings of how a TorchScript network sees images, without one.
  const std::string none = ": expected none without a TorchScript file in --features, got ";
  CHECK(refusal(evaluate(run.data, {"--count", "10", "--features-black", "0"})) ==
        "evaluate: --features-black" + none + "0");
  CHECK(with(folder / "small", {"--features-flags", "a,b"}) == "evaluate: --features-flags" + none + "a,b");
}

TEST_CASE("features refuses what it cannot learn") {
  const TemporaryFolder folder;
  const auto with = [&](const PlainImages& images, const std::vector<std::string>& more = {}) {
    write_plain(folder / "data", "train", images);
    write_plain(folder / "data", "t10k", images);
    return refusal(joined({"features", "--data", folder / "data", "--out", folder / "out", "--threads", "1"}, more));
  };
  CHECK(with(PlainImages(20, 5, 2), {"--epochs", "0"}) == "features: --epochs: expected at least 1, got 0");
  CHECK(with(PlainImages(20, 5, 1)) == "features: --data: expected images of at least 2 classes, got 1");
  PlainImages images(20, 5, 3);
  for (char& label : images.labels) label = label == 1 ? 0 : label;
  CHECK(with(images) == "features: --data: expected images of each class, got none of class 1");
  CHECK(folder.count() == 1);
}

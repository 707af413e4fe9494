// SPDX-License-Identifier: Apache-2.0
// Programs without LibTorch, on a model that `patchdiff train` wrote.
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/io/read_picture.hpp>

#include "cli/run_patchdiff.hpp"
#include "cli/small_run.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/files.hpp"
#include "support/temporary_folder.hpp"

namespace {

Finished run_sampler(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), PATCHDIFF_EIGEN_SAMPLER);
  return ChildProcess(std::move(arguments)).wait();
}

/// The largest difference of two pictures of one shape, in steps of 8 bits.
int distance(const std::filesystem::path& a, const std::filesystem::path& b) {
  const patchdiff::DecodedPicture first = patchdiff::read_picture(a), second = patchdiff::read_picture(b);
  REQUIRE(first.shape == second.shape);
  int largest = 0;
  for (std::size_t i = 0; i < first.values.size(); ++i) {
    largest = std::max(largest, std::abs(int{first.values[i]} - int{second.values[i]}) / 257);
  }
  return largest;
}

}  // namespace

TEST_CASE("the sampler without LibTorch draws what patchdiff sample draws") {
  const TemporaryFolder folder;
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--steps", "6"},
                                               {"--steps", "4", "--class", "trousers,0", "--count", "2", "--seed", "5",
                                                "--guidance", "2", "--solver", "dpmpp_2m"}}) {
    const std::string model = SmallRun::get().model;
    CHECK(run_patchdiff(joined({"sample", "--model", model, "--out", folder / "torch.png", "--threads", "1"}, more))
              .code == 0);
    const Finished finished = run_sampler(joined({"--model", model, "--out", folder / "eigen.png"}, more));
    CHECK(finished.err == "");
    REQUIRE(finished.code == 0);
    // One step is 1 / 127.5: an image at the border of two steps may fall to either side.
    CHECK(distance(folder / "torch.png", folder / "eigen.png") <= 1);
  }
}

TEST_CASE("the sampler without LibTorch draws windows and fuses them") {
  const TemporaryFolder folder;
  const auto drawn = [&](const std::string& name, const std::vector<std::string>& more) {
    const Finished finished = run_sampler(joined(
        {"--model", SmallRun::get().model, "--npy", folder / name, "--steps", "2", "--count", "1", "--class", "1"},
        more));
    CHECK(finished.err == "");
    CHECK(finished.code == 0);
    return folder.read(name);
  };
  const std::string whole = drawn("whole", {});
  CHECK(whole == drawn("again", {"--threads", "1"}));
  CHECK(drawn("tiled", {"--tile", "32"}) == whole);  // one window is the image
  CHECK(drawn("fused", {"--tile", "16", "--overlap", "8"}).size() == whole.size());
  CHECK(drawn("window", {"--window", "8,4,16,8"}).size() < whole.size());
}

TEST_CASE("the sampler without LibTorch writes nothing where it refuses") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::vector<std::string>& more) {
    const Finished finished = run_sampler(joined({"--model", SmallRun::get().model, "--steps", "1"}, more));
    CHECK(finished.code == 1);
    CHECK(finished.out == "");
    CHECK(folder.count() == 0);
    return finished.err;
  };
  CHECK(refused({}) == "eigen_sampler: eigen_sampler: --out or --npy: expected a file to write, got none\n");
  CHECK_THAT(refused({"--out", folder / "a.png", "--class", "shirts"}),
             ContainsSubstring("expected a class of the model such as \"shirt\", got \"shirts\""));
  CHECK_THAT(refused({"--out", folder / "a.png", "--window", "0,0,64,64"}),
             ContainsSubstring("ODESampler: window: expected a window inside 32x32"));
  const std::filesystem::path changed = changed_model(folder, "patchdiff_program", "\"shirt\",", "");
  CHECK(run_sampler({"--model", changed, "--out", folder / "a.png"}).err ==
        "eigen_sampler: model_file: " + changed.string() + ": expected names of 3 classes, got 2\n");
  std::filesystem::remove(changed);
  // A picture that no memory holds.
  CHECK(refused({"--out", folder / "a.png", "--count", "1000000000000"}) ==
        "eigen_sampler: memory: expected enough for the model and its images, got none\n");
}

TEST_CASE("a program of another kind makes pictures on demand") {
  const TemporaryFolder folder;
  const std::string output = folder / "pictures", errors = folder / "errors";
  const std::string requests = folder.add("requests", "7 1\nnonsense\n7 1\n8\n7 9\n");
  const Finished finished =
      ChildProcess({"/bin/sh", "-c", "'" PATCHDIFF_EIGEN_PICTURES "' \"$0\" < \"$1\" > \"$2\" 2> \"$3\"",
                    SmallRun::get().model, requests, output, errors})
          .wait();
  CHECK(finished.code == 0);
  CHECK(folder.read("errors") ==
        "eigen_pictures: eigen_pictures: request: expected SEED [CLASS], got \"nonsense\"\n"
        "eigen_pictures: one_hot_labels: labels: expected values in [0, 3), got 9 at sample 0\n");
  const std::string header = "P5\n32 32\n255\n", pictures = folder.read("pictures");
  const std::size_t size = header.size() + 32 * 32;
  REQUIRE(pictures.size() == 3 * size);
  CHECK(pictures.substr(0, header.size()) == header);
  CHECK(pictures.substr(0, size) == pictures.substr(size, size));
  CHECK(pictures.substr(0, size) != pictures.substr(2 * size));
}

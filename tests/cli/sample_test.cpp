// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/io/read_picture.hpp>

#include "cli/run_patchdiff.hpp"
#include "cli/small_run.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/png_size.hpp"
#include "support/temporary_folder.hpp"

namespace {

std::vector<std::string> sample(const std::filesystem::path& out, const std::vector<std::string>& more) {
  return joined({"sample", "--model", SmallRun::get().model, "--out", out, "--threads", "1"}, more);
}

}  // namespace

TEST_CASE("sample draws the classes that are asked for, by name or number, the same for the same seed") {
  const TemporaryFolder folder;
  const auto picture = [&](const std::string& name, const std::vector<std::string>& more) {
    const Finished finished = run_patchdiff(sample(folder / name, more));
    CHECK(finished.err == "");
    CHECK(finished.code == 0);
    return finished.out;
  };
  const std::string by_name =
      picture("a.png", {"--class", "trousers,0", "--steps", "2", "--count", "2", "--seed", "5", "--guidance", "2"});
  CHECK(by_name.starts_with("step 1 of 2  sigma 80  "));
  CHECK(by_name.ends_with("\nwrote " + (folder / "a.png").string() +
                          ": 4 images, 2 steps of heun, guidance 2, seed 5\nrow  1  trousers\nrow  2  shirt\n"));
  picture("b.png", {"--class", "1,shirt", "--steps", "2", "--count", "2", "--seed", "5", "--guidance", "2"});
  picture("c.png", {"--class", "1,shirt", "--steps", "2", "--count", "2", "--seed", "6", "--guidance", "2"});
  CHECK(folder.read("a.png") == folder.read("b.png"));
  CHECK(folder.read("a.png") != folder.read("c.png"));
  CHECK(folder.count() == 3);
}

TEST_CASE("sample needs no settings: the model file holds them") {
  const TemporaryFolder folder;
  const Finished finished = run_patchdiff(sample(folder / "grid.png", {}));
  CHECK(finished.err == "");
  REQUIRE(finished.code == 0);
  CHECK_THAT(finished.out, ContainsSubstring(": 24 images, 18 steps of heun, guidance 1.5, seed 1\nrow  1  shirt\n"));
  // What train drew at its end is the same request.
  CHECK(folder.read("grid.png") == bytes_of(SmallRun::get().out / "samples.png"));
}

TEST_CASE("an image is its seed, however many are drawn with it") {
  const TemporaryFolder folder;
  const auto row = [&](const std::string& name, const std::string& seed, const std::string& count) {
    const Finished finished =
        run_patchdiff(sample(folder / name, {"--class", "0", "--steps", "1", "--seed", seed, "--count", count}));
    CHECK(finished.code == 0);
    return patchdiff::read_picture(folder / name);
  };
  // The program draws 100 images at once.
  const patchdiff::DecodedPicture many = row("many.png", "1", "101"), one = row("one.png", "101", "1");
  REQUIRE(many.shape == patchdiff::ImageShape{1, 100, 101 * 98 + 2});
  REQUIRE(one.shape == patchdiff::ImageShape{1, 100, 100});
  const auto image = [](const patchdiff::DecodedPicture& picture, std::int64_t index) {
    std::vector<std::uint16_t> values;
    for (std::int64_t y = 2; y < 98; ++y) {
      const auto line = picture.values.begin() + y * picture.shape.width + 2 + 98 * index;
      values.insert(values.end(), line, line + 96);
    }
    return values;
  };
  CHECK(image(many, 100) == image(one, 0));
  CHECK(image(many, 0) != image(one, 0));
}

TEST_CASE("sample draws by the solver that is asked for") {
  const TemporaryFolder folder;
  const std::vector<std::string> small{"--class", "0", "--steps", "3", "--count", "1"};
  std::set<std::string> pictures;
  for (const std::string solver : {"euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "ancestral_euler"}) {
    const Finished finished = run_patchdiff(sample(folder / "grid.png", joined(small, {"--solver", solver})));
    CHECK(finished.err == "");
    CHECK_THAT(finished.out, ContainsSubstring(": 1 images, 3 steps of " + solver + ", guidance 1.5, seed 1\n"));
    pictures.insert(folder.read("grid.png"));
  }
  CHECK(pictures.size() == 5);
}

TEST_CASE("sample shows its images as they come, and a signal leaves the last preview") {
  const TemporaryFolder folder;
  const auto endless = [&](const std::vector<std::string>& more) {
    return sample(folder / "grid.png", joined({"--steps", "1000000", "--count", "1"}, more));
  };
  Patchdiff previewing(endless({"--preview-every", "2"}));
  REQUIRE(previewing.wait_for("step 1 of 1000000  sigma 80  "));
  while (folder.count() == 0) std::this_thread::yield();
  previewing.signal(SIGINT);
  const Finished previewed = previewing.wait();
  CHECK(previewed.code == 1);
  CHECK(previewed.err.starts_with("patchdiff: sample: stopped after step "));
  CHECK_THAT(previewed.err,
             ContainsSubstring(" of 1000000; " + (folder / "grid.png").string() + " is the estimate of step "));
  CHECK(png_size(folder / "grid.png") == patchdiff::ImageSize{3 * 98 + 2, 98 + 2});
}

TEST_CASE("sample that is stopped before a preview writes nothing") {
  const TemporaryFolder folder;
  Patchdiff sampling(sample(folder / "grid.png", {"--steps", "1000000"}));
  REQUIRE(sampling.wait_for("step 1 of"));
  sampling.signal(SIGTERM);
  const Finished stopped = sampling.wait();
  CHECK(stopped.code == 1);
  CHECK(stopped.err.ends_with("; " + (folder / "grid.png").string() + " is not written\n"));
  CHECK(folder.count() == 0);
}

TEST_CASE("sample warns of guidance away from a null label that was never trained") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  REQUIRE(run_patchdiff(joined({"train", "--data", run.data, "--out", folder / "run", "--images", "8", "--batch", "4",
                                "--label-dropout", "0", "--threads", "1"},
                               small_network))
              .code == 0);
  const auto drawn = [&](const std::string& guidance) {
    return run_patchdiff({"sample", "--model", folder / "run/model.safetensors", "--out", folder / "grid.png",
                          "--steps", "1", "--threads", "1", "--guidance", guidance});
  };
  const Finished guided = drawn("2");
  CHECK(guided.code == 0);
  CHECK(guided.err ==
        "patchdiff: GuidedDenoiser: inner: expected a null label trained by label dropout, got one that was never "
        "trained\n");
  CHECK(drawn("1").err == "");
}

TEST_CASE("info tells every setting with its description, the classes and the parameters") {
  const Finished finished = run_patchdiff({"info", SmallRun::get().model});
  CHECK(finished.err == "");
  REQUIRE(finished.code == 0);
  for (const char* text :
       {"SongUNet, ", " parameters, written by patchdiff 0.",
        "model_channels           4                        width of the first level", "shirt,trousers,pullover",
        "padding                  0                        zeros around the image",
        "formulation              edm, sigma_data 0.5      preconditioning and loss weight",
        "guidance                 1.5                      classifier-free guidance, 1: none",
        "\naverage of weights\n  kind                     halflife ", "halflife_images          500000 ",
        "enc.32x32_conv                 112", "120 images of 1x28x28 in 3 classes"}) {
    CHECK_THAT(finished.out, ContainsSubstring(text));
  }
}

TEST_CASE("Every command has a help that names its settings and their defaults") {
  for (const char* command : {"train", "sample", "evaluate", "features", "info"}) {
    const Finished finished = run_patchdiff({command, "--help"});
    CHECK(finished.code == 0);
    CHECK(finished.err == "");
    CHECK_THAT(finished.out, ContainsSubstring("patchdiff " + std::string(command)));
  }
  const std::string help = run_patchdiff({"train", "--help"}).out;
  const std::size_t option = help.find("--full-image-probability");
  REQUIRE(option != std::string::npos);
  const std::string entry = help.substr(option, help.find("--batch") - option);
  CHECK_THAT(entry, ContainsSubstring("0.5") && ContainsSubstring("share of training on full images"));
}

// SPDX-License-Identifier: Apache-2.0
// What the program refuses: one line on standard error, nothing on standard output, and no file changed.
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/run_patchdiff.hpp"
#include "cli/small_run.hpp"
#include "support/catch.hpp"
#include "support/file_size_limit.hpp"
#include "support/temporary_folder.hpp"

namespace fs = std::filesystem;
using namespace patchdiff;

namespace {

std::vector<std::string> sample(const fs::path& model, const fs::path& out, const std::vector<std::string>& more = {}) {
  return joined({"sample", "--model", model, "--out", out, "--threads", "1"}, more);
}

std::vector<std::string> train(const fs::path& data, const fs::path& out, const std::vector<std::string>& more = {}) {
  return joined({"train", "--data", data, "--out", out, "--images", "60", "--batch", "4", "--threads", "1"}, more);
}

}  // namespace

TEST_CASE("A command line that is not understood is refused with the nearest words") {
  CHECK(refusal({}, 2) == "command line: command: expected train, sample, evaluate, features, info, got none");
  CHECK(refusal({"trian"}, 2) == "command line: command: expected a known command such as train, got \"trian\"");
  CHECK(refusal({"--verbose"}, 2) ==
        "command line: option: expected a known option such as --version, got \"--verbose\"");
  CHECK(refusal({"train", "--bath", "3"}, 2) ==
        "train: option: expected a known option such as --batch, got \"--bath\"");
  CHECK(refusal({"sample", "--step=3"}, 2) ==
        "sample: option: expected a known option such as --steps, got \"--step=3\"");
  CHECK(refusal({"sample", "picture.png"}, 2) == "sample: argument: expected none, got \"picture.png\"");
  CHECK(refusal({"train", "--batch", "many"}, 2) ==
        "train: --batch: expected a whole number (images of a step on full images; steps on smaller patches take "
        "more), got \"many\"");
  CHECK(refusal({"train", "--precision", "float8"}, 2) ==
        "train: --precision: expected float32 or bfloat16 or float16 (scalar type of convolutions and matrix "
        "products), got \"float8\"");
  CHECK(refusal({"train", "--seed", "-1"}, 2) ==
        "train: --seed: expected a whole number of at least 0 (of every random draw), got \"-1\"");
  CHECK(refusal({"train", "--seed"}, 2).starts_with("command line: arguments: expected a sound command line, got "));
  CHECK(refusal({"sample", "--model", "x"}, 2) == "sample: --out: expected picture to write, a PNG file, got none");
  CHECK(refusal({"info"}, 2) == "info: FILE: expected model file, got none");
}

TEST_CASE("train refuses settings that cannot work before it makes anything") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  const auto with = [&](const std::vector<std::string>& more) {
    return refusal(train(run.data, folder / "out", joined(small_network, more)));
  };
  CHECK(with({"--label-dropout", "2"}) == "TrainStep: label_dropout: expected a value in [0, 1], got 2");
  CHECK(with({"--full-image-probability", "1.5"}) ==
        "PatchMixture: full_image_probability: expected a value in [0, 1], got 1.5");
  CHECK(with({"--learning-rate", "0"}) == "train: --learning-rate: expected a finite value > 0, got 0");
  CHECK(with({"--sigma-data", "0"}) == "EDM: sigma_data: expected a finite value > 0, got 0");
  CHECK(with({"--dropout", "1"}) == "SongUNet: dropout: expected a value in [0, 1), got 1");
  CHECK(with({"--class-names", "a,b"}) == "train: --class-names: expected 3 names, got 2");
  CHECK(with({"--class-names", "a,b,a"}) == "train: --class-names: expected different names, got a,b,a");
  CHECK(with({"--device", "tpu"}).starts_with("train: --device: expected cpu"));
  CHECK(refusal({"train", "--data", run.data, "--out", folder / "out", "--minutes", "0"}) ==
        "train: --minutes: expected a finite value > 0, got 0");
  CHECK(refusal(train(run.data, folder / "out", {"--minutes", "1"}), 2) ==
        "train: --images: expected none beside --minutes, got 60");
  CHECK(refusal(train(run.data, folder / "out", {"--from", run.model, "--num-blocks", "2"}), 2) ==
        "train: --num-blocks: expected no settings of the model beside --from, got one");
  CHECK(refusal(train(folder / "none", folder / "out")) ==
        "train: --data: expected a folder with train-images-idx3-ubyte or .gz, or with PNG or JPEG files, or an NPY "
        "file, got \"" +
            (folder / "none").string() + "\"");
  CHECK(refusal(train(run.data, folder / "out", {"--image-scaling", "measured", "--sigma-data", "0.4"})) ==
        "train: --sigma-data: expected none beside --image-scaling measured, got 0.4");
  CHECK(refusal(train(run.data, folder / "out", {"--workers", "0"})) == "train: --workers: expected at least 1, got 0");
  CHECK(refusal(train(run.data, folder / "out", {"--micro-batch", "-1"})) ==
        "train: --micro-batch: expected at least 0, got -1");
  CHECK(refusal(train(run.data, folder / "out", {"--max-gradient-norm", "-1"})) ==
        "train: --max-gradient-norm: expected a finite value of at least 0, got -1");
  CHECK(with({"--max-gradient-norm", "inf"}) ==
        "train: --max-gradient-norm: expected a finite value of at least 0, got inf");
  CHECK(with({"--ema-halflife-images", "inf"}) == "train: --ema-halflife-images: expected a finite value > 0, got inf");
  CHECK(with({"--ema-rampup-ratio", "nan"}) == "train: --ema-rampup-ratio: expected a finite value > 0, got nan");
  CHECK(refusal(train(run.data, folder / "out", {"--samples-every", "-1"})) ==
        "train: --samples-every: expected at least 0, got -1");
  CHECK(refusal(train(run.data, folder / "out", {"--augment-probability", "2"})) ==
        "Augmentation: probability: expected a value in [0, 1], got 2");
  CHECK(refusal(train(run.data, folder / "out", {"--from", run.model, "--augment-probability", "0.1"})) ==
        "train: --augment-probability: expected 0, as the model reads no augmentation labels, got 0.1");
  CHECK(with({"--mpi-timeout", "5"}) == "train: --mpi-timeout: expected none without --mpi, got 5");
  CHECK(folder.count() == 0);
}

TEST_CASE("train refuses a folder that it cannot have for itself") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  folder.add("file", "not a folder");
  CHECK(refusal(train(run.data, run.out, small_network)) ==
        "train: --out: expected a folder without files of an earlier run, got \"" + run.out.string() +
            "\" with model.safetensors");
  CHECK(refusal(train(run.data, folder / "file/out", small_network)) ==
        "train: --out: expected a folder that can be written, got \"" + (folder / "file/out").string() +
            "\" (Not a directory)");
  CHECK_THAT(refusal(train(run.data, "/proc", small_network)),
             ContainsSubstring("train: --out: expected a folder that can be written, got \"/proc\" ("));
}

TEST_CASE("sample refuses what its model cannot draw") {
  const TemporaryFolder folder;
  const auto with = [&](const std::vector<std::string>& more) {
    return refusal(sample(SmallRun::get().model, folder / "grid.png", more));
  };
  CHECK(with({"--steps", "0"}) == "sample: --steps: expected at least 1, got 0");
  CHECK(with({"--count", "0"}) == "sample: --count: expected at least 1, got 0");
  for (const std::string count : {"20000", "1000000000000"}) {
    CHECK_THAT(with({"--count", count}),
               ContainsSubstring("sample: --count: expected a picture of at most 1000000 pixels a side and 65536 "
                                 "images in a row, got 296x") &&
                   ContainsSubstring(" with " + count + " in a row"));
  }
  CHECK(with({"--count", "9223372036854775807"}) == "memory: expected enough for the command, got none");
  CHECK(with({"--guidance", "nan"}) == "sample: --guidance: expected a finite value, got nan");
  CHECK(with({"--preview-every", "-1"}) == "sample: --preview-every: expected at least 0, got -1");
  CHECK(with({"--class", "1,3"}) == "sample: --class: expected a class from 0 to 2, got \"3\"");
  CHECK(with({"--class", "-1"}) == "sample: --class: expected a class from 0 to 2, got \"-1\"");
  CHECK(with({"--class", "trouser"}) ==
        "sample: --class: expected a class of the model such as \"trousers\", got \"trouser\"");
  CHECK(refusal({"sample", "--model", SmallRun::get().model, "--out", folder / "grid.png", "--threads", "0"}) ==
        "sample: --threads: expected 1 to 4096, got 0");
  // A file that is read, and one that is written too.
  const fs::path model = SmallRun::get().model;
  CHECK(refusal(sample(model, model)) ==
        "sample: --out: expected another file than --model, got \"" + model.string() + "\"");
  CHECK(with({"--npy", model}) == "sample: --npy: expected another file than --model, got \"" + model.string() + "\"");
  CHECK(with({"--npy", folder / "./grid.png"}) ==
        "sample: --npy: expected another file than --out, got \"" + (folder / "./grid.png").string() + "\"");
  CHECK(folder.count() == 0);
  CHECK_THAT(refusal(sample(SmallRun::get().model, folder / "none/grid.png")),
             ContainsSubstring("sample: " + (folder / "none/grid.png").string() + ": expected a writable folder"));
}

TEST_CASE("A file that is no model of this program is refused") {
  const TemporaryFolder folder;
  const std::string path = (folder / "changed.safetensors").string();
  const auto changed = [&](const std::string& key, const std::string& from, const std::string& to) {
    const fs::path model = changed_model(folder, key, from, to);
    const std::string message = refusal({"info", model});
    CHECK(refusal(sample(model, folder / "grid.png")) == message);
    return message;
  };
  CHECK(changed("network", "SongUNet", "UNet") ==
        "model_file: " + path + ": expected network \"SongUNet\" or \"DhariwalUNet\", got \"UNet\"");
  CHECK(changed("version", "1", "2") ==
        "model_file: " + path + ": expected version 1, got 2, of a newer patchdiff: use that one");
  CHECK(changed("network_settings", "\"dropout\"", "\"drop_out\"") ==
        "settings: " + path + ": expected a known key such as \"dropout\", got \"drop_out\"");
  CHECK(changed("patchdiff_program", "\"steps\":18", "\"steps\":\"many\"") ==
        "settings: " + path +
            ": expected a sound value of \"steps\" (steps of the solver; heun calls the network twice in each but the "
            "last), got \"many\"");
  CHECK(changed("patchdiff_program", "\"shirt\",", "") ==
        "model_file: " + path + ": expected names of 3 classes, got 2");
  CHECK(refusal({"info", folder.add("text", "This is a text and no model.")})
            .starts_with("SafetensorsReader: " + (folder / "text").string() + ": expected "));
  CHECK(refusal({"info", folder / "none"}).starts_with("SafetensorsReader: " + (folder / "none").string()));
}

TEST_CASE("A data set other than the model's is refused") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  const fs::path other = write_small_data(folder / "data", 100);
  const std::string expected =
      ": --data: expected the images that the model was trained on, 120 images of 1x28x28 in "
      "3 classes, crc32 ";
  CHECK(refusal({"evaluate", "--model", run.model, "--data", other}).starts_with("evaluate" + expected));
  CHECK(refusal(train(other, folder / "out", {"--from", run.model})).starts_with("train" + expected));
  // As many images, one pixel of one of them changed.
  const fs::path touched = write_small_data(folder / "touched");
  std::fstream(touched / "train-images-idx3-ubyte", std::ios::in | std::ios::out | std::ios::binary)
      .seekp(1000)
      .put(77);
  CHECK(refusal({"evaluate", "--model", run.model, "--data", touched}).starts_with("evaluate" + expected));
  CHECK_FALSE(fs::exists(folder / "out"));
}

TEST_CASE("A full disk leaves nothing half-written under a final name") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  {
    const FileSizeLimit limit(100);
    const Finished finished = run_patchdiff(sample(run.model, folder / "grid.png", {"--steps", "1"}));
    CHECK(finished.code == 1);
    CHECK_THAT(finished.err,
               ContainsSubstring("write_png: " + (folder / "grid.png").string() + ": expected a complete write, got "));
  }
  CHECK(folder.count() == 0);

  const auto train_with = [&](rlim_t bytes, const std::string& images) {
    const FileSizeLimit limit(bytes);
    const Finished finished =
        run_patchdiff(train(run.data, folder / "out", joined(small_network, {"--images", images})));
    CHECK(finished.code == 1);
    return finished.err;
  };
  // The log ends with its last whole line; the model would be saved, but does not fit either.
  CHECK(train_with(2000, "600")
            .starts_with("patchdiff: CsvLog: " + (folder / "out/loss.csv").string() +
                         ": expected a complete line, got "));
  const std::string log = folder.read("out/loss.csv");
  CHECK(log.starts_with("step,images,patch,loss,seconds\n1,"));
  CHECK(log.back() == '\n');
  const auto only_log = [&] {
    for (const auto& entry : fs::directory_iterator(folder / "out")) {
      const std::string name = entry.path().filename();
      if (name != "loss.csv" && name != "loss_by_sigma.csv" && name != "run.toml" && name != ".lock") return false;
    }
    return true;
  };
  CHECK(only_log());
  fs::remove_all(folder / "out");
  CHECK_THAT(train_with(4096, "60"), ContainsSubstring((folder / "out/model.safetensors").string() + ": expected "));
  CHECK(only_log());
}

// SPDX-License-Identifier: Apache-2.0
#include "support/torch_catch.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/backend/torch/peak_bytes.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/io/safetensors_writer.hpp>
#include <patchdiff/torch.hpp>

#include "support/errors.hpp"
#include "support/random_weights.hpp"
#include "support/temporary_folder.hpp"

using namespace patchdiff;
using B = TorchBackend;

namespace {

DenoiserWrapper<SongUNet> model(std::uint64_t seed) {
  return {SongUNet({.image = {8, 16},
                    .in_channels = 1 + 2,
                    .out_channels = 1,
                    .label_dim = 3,
                    .model_channels = 8,
                    .channel_mult = {1, 2},
                    .num_blocks = 1,
                    .attn_resolutions = {8},
                    .dropout = 0.25},
                   {seed}),
          {.image = {1, 8, 16},
           .coords = {.padding = 3},
           .formulation = EDM{.sigma_data = 0.7},
           .precision = Precision::bfloat16,
           .null_label_trained = true}};
}

/// The file again, with some of its metadata and tensors changed.
template <class Change>
std::filesystem::path changed(const TemporaryFolder& folder, const std::filesystem::path& path, Change&& change) {
  const SafetensorsReader file(path);
  std::map<std::string, std::string> metadata = file.metadata();
  std::vector<SafetensorsTensor> tensors = file.tensors();
  change(metadata, tensors);
  write_safetensors(folder / "changed.safetensors", tensors, metadata);
  return folder / "changed.safetensors";
}

std::string message_of(const std::filesystem::path& path) {
  try {
    model_file::load<SongUNet>(path);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("A model file rebuilds the denoiser with all of its settings") {
  const TemporaryFolder folder;
  auto saved = model(1);
  model_file::save(folder / "model.safetensors", saved);
  const auto loaded = model_file::load<SongUNet>(folder / "model.safetensors");
  CHECK(loaded.image() == ImageShape{1, 8, 16});
  CHECK(loaded.coords().padding == 3);
  CHECK(loaded.options().precision == Precision::bfloat16);
  CHECK(loaded.null_label_trained());
  CHECK(loaded.formulation().preconditioning(1).c_skip == EDM{.sigma_data = 0.7}.preconditioning(1).c_skip);
  CHECK(loaded.network().options().channel_mult == std::vector<std::int64_t>{1, 2});
  CHECK(loaded.network().options().dropout == 0.25);
  const at::Tensor x = at::ones({2, 1, 8, 16});
  const std::vector<double> sigma{0.5, 2};
  const Conditioning<B> conditioning{.class_labels = one_hot_labels<B>(std::vector<std::int64_t>{0, 2}, 3, {})};
  const Places places = Places::whole({8, 16}, 2);
  CHECK(at::equal(loaded(x, sigma, places, conditioning), saved(x, sigma, places, conditioning)));
}

TEST_CASE("A model file tells which average its weights are, and older ones need not") {
  const TemporaryFolder folder;
  const auto path = folder / "model";
  auto net = model(1);
  const auto kept = [&](const auto& denoiser) {
    auto copy = denoiser.clone();
    model_file::save(path, copy);
    return model_file::load<SongUNet>(path).average();
  };
  CHECK(kept(net) == AverageInfo{.kind = AverageKind::none});
  const TrainState state{.images = 50};
  const auto averaged = EMA<B>(net, {.halflife_images = 1000, .rampup_ratio = 0.1}, state).apply_to(net.clone());
  CHECK(kept(averaged) ==
        AverageInfo{.kind = AverageKind::halflife, .halflife_images = 1000, .rampup_ratio = 0.1, .images = 50});
  const PowerEMA<B> power(net, {.relative_width = 0.2}, state);
  CHECK(kept(power.apply_to(net.clone())) ==
        AverageInfo{.kind = AverageKind::power, .relative_width = 0.2, .images = 50});
  const std::vector<PowerProfile> profiles{power.profile()};
  const auto other = post_hoc_average(net.clone(), profiles, {0.15, 40}, [&](std::size_t) { return net.clone(); });
  CHECK(kept(other) == AverageInfo{.kind = AverageKind::power, .relative_width = 0.15, .images = 40});

  model_file::save(path, net);
  const auto older = changed(folder, path, [](auto& metadata, auto&) { metadata.erase("average"); });
  auto opened = model_file::load<SongUNet>(older);
  CHECK(opened.average().kind == AverageKind::unknown);
  model_file::save(folder / "again", opened);
  CHECK(folder.read("again") == folder.read("changed.safetensors"));
  const auto wrong = changed(folder, path, [](auto& metadata, auto&) { metadata["average"] = R"({"kind":"mean"})"; });
  CHECK_ERROR(DataError,
              "settings: " + wrong.string() +
                  ": expected a sound value of \"kind\" (which average of a run's weights the model has), got \"mean\"",
              model_file::load<SongUNet>(wrong));
}

TEST_CASE("A network that is loaded or copied draws no weights, and large tensors come whole") {
  const TemporaryFolder folder;
  const SongUNetOptions options{.image = {4, 4},
                                .in_channels = 3,
                                .out_channels = 1,
                                .model_channels = 96,
                                .channel_mult = {1, 2},
                                .num_blocks = 1};
  DenoiserWrapper denoiser{SongUNet(options, {3}), {.image = {1, 4, 4}}};
  model_file::save(folder / "model", denoiser);
  const std::int64_t size = static_cast<std::int64_t>(folder.read("model").size());
  std::optional<DenoiserWrapper<SongUNet>> loaded;
  CHECK(peak_torch_bytes([&] { loaded.emplace(model_file::load<SongUNet>(folder / "model")); }) < size + size / 8);
  std::map<std::string, at::Tensor> saved;
  denoiser.visit_state([&](std::string_view name, const at::Tensor& value) { saved.emplace(name, value); });
  std::size_t equal = 0, parts = 0;
  loaded->visit_state([&](std::string_view name, const at::Tensor& value) {
    if (at::equal(value, saved.at(std::string(name)))) ++equal;
    if (value.nbytes() > 1 << 20) ++parts;
  });
  CHECK(equal == saved.size());
  CHECK(parts > 2);
  CHECK(loaded->network().parameters().front().is_leaf());
}

TEST_CASE("A file of any known network opens without its name being told") {
  using Any = AnyNetwork<SongUNet, DhariwalUNet>;
  const TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  auto song = model(1);
  model_file::save(path, song);
  auto opened = model_file::load<Any>(path);
  const at::Tensor x = at::ones({2, 1, 8, 16});
  const std::vector<double> sigma{0.5, 2};
  const Conditioning<B> told{.class_labels = one_hot_labels<B>(std::vector<std::int64_t>{0, 2}, 3, {})};
  const Places places = Places::whole({8, 16}, 2);
  CHECK(at::equal(opened(x, sigma, places, told), song(x, sigma, places, told)));
  model_file::save(folder / "again", opened);
  CHECK(folder.read("again") == folder.read("model.safetensors"));

  const DhariwalUNetOptions options{.image = {8, 16},
                                    .in_channels = 1 + 2,
                                    .out_channels = 1,
                                    .label_dim = 3,
                                    .model_channels = 32,
                                    .channel_mult = {1, 2},
                                    .num_blocks = 1,
                                    .attn_resolutions = {8},
                                    .attention = Attention::plain,
                                    .recompute = true};
  DenoiserWrapper adm{with_random_weights(DhariwalUNet(options)), {.image = {1, 8, 16}}};
  model_file::save(path, adm);
  opened = model_file::load<Any>(path);
  CHECK(at::equal(opened(x, sigma, places, told), adm(x, sigma, places, told)));
  opened.network().visit([](const auto& network) {
    CHECK(network.name == "DhariwalUNet");
    CHECK(network.options().attention == Attention::plain);
    CHECK(network.options().recompute);
  });
  CHECK(message_of(path) == "model_file: " + path.string() + ": expected network \"SongUNet\", got \"DhariwalUNet\"");
  const auto other = changed(folder, path, [](auto& metadata, auto&) { metadata["network"] = "UNet"; });
  CHECK_ERROR(DataError,
              "model_file: " + other.string() + ": expected network \"SongUNet\" or \"DhariwalUNet\", got \"UNet\"",
              model_file::load<Any>(other));
}

TEST_CASE("A model file keeps a program's own metadata beside the model's") {
  const TemporaryFolder folder;
  auto saved = model(1);
  model_file::save(folder / "model", saved, {{"program", "its own"}, {"version", "7"}});
  const SafetensorsReader file(folder / "model");
  CHECK(file.metadata().at("program") == "its own");
  CHECK(file.metadata().at("version") == "1");
  CHECK(model_file::load<SongUNet>(file, "model").image() == ImageShape{1, 8, 16});
}

TEST_CASE("Equal models give equal bytes") {
  const TemporaryFolder folder;
  auto first = model(1), second = model(1), other = model(2);
  model_file::save(folder / "first", first);
  model_file::save(folder / "second", second);
  model_file::save(folder / "other", other);
  CHECK(folder.read("first") == folder.read("second"));
  CHECK(folder.read("first") != folder.read("other"));
}

TEST_CASE("A model file that does not fit is refused by name") {
  const TemporaryFolder folder;
  auto saved = model(1);
  const auto path = folder / "model.safetensors";
  const std::string changed_path = (folder / "changed.safetensors").string();
  model_file::save(path, saved);
  const auto with_metadata = [&](const std::string& key, const std::string& value) {
    return message_of(changed(folder, path, [&](auto& metadata, auto&) { metadata[key] = value; }));
  };
  CHECK(with_metadata("format", "other") ==
        "model_file: " + changed_path + ": expected format \"patchdiff\", got \"other\"");
  const std::string version = "model_file: " + changed_path + ": expected version 1, got ";
  CHECK(with_metadata("version", "2") == version + "2, of a newer patchdiff: use that one");
  CHECK(with_metadata("version", "10") == version + "10, of a newer patchdiff: use that one");
  CHECK(with_metadata("version", "0") ==
        version + "0, of an older patchdiff: make a new file of its weights by examples/convert/convert.py");
  CHECK(with_metadata("version", "1.5") == version + "\"1.5\"");
  CHECK(with_metadata("network", "DhariwalUNet") ==
        "model_file: " + changed_path + ": expected network \"SongUNet\", got \"DhariwalUNet\"");
  CHECK(with_metadata("denoiser_settings", "{") ==
        "settings: " + changed_path + ": expected a JSON object, got other text");
  const auto edited = [&](const std::string& from, const std::string& to) {
    return message_of(changed(folder, path, [&](auto& metadata, auto&) {
      std::string& settings = metadata["network_settings"];
      settings.replace(settings.find(from), from.size(), to);
    }));
  };
  CHECK(edited("\"dropout\"", "\"drop_out\"") ==
        "settings: " + changed_path + ": expected a known key such as \"dropout\", got \"drop_out\"");
  CHECK(edited("\"num_blocks\":1", "\"num_blocks\":1.5") ==
        "settings: " + changed_path + ": expected a sound value of \"num_blocks\" (residual blocks a level), got 1.5");
  CHECK(edited("\"num_blocks\":1", "\"num_blocks\":1,\"attention_resolutions\":[8]") ==
        "settings: " + changed_path +
            ": expected a known key such as \"attn_resolutions\", got \"attention_resolutions\"");
  CHECK(edited("\"num_blocks\":1,", "") ==
        "settings: " + changed_path + ": expected a value of \"num_blocks\" (residual blocks a level), got none");
  const std::string foreign =
      message_of(changed(folder, path, [](auto& metadata, auto&) { metadata.erase("format"); }));
  CHECK_THAT(foreign, ContainsSubstring("model_file: " + changed_path +
                                        ": expected a patchdiff model, got no \"format\" in the metadata, beside ") &&
                          ContainsSubstring(" tensors such as \"model."));
}

TEST_CASE("Every tensor that does not fit is named in one error") {
  const TemporaryFolder folder;
  auto saved = model(1);
  model_file::save(folder / "model.safetensors", saved);
  const auto path = changed(folder, folder / "model.safetensors", [](auto&, auto& tensors) {
    for (SafetensorsTensor& tensor : tensors) {
      if (tensor.name == "model.map_layer0.bias") tensor.name = "model.map_layer9.bias";
      if (tensor.name == "model.map_layer1.bias") tensor.shape = {4, 8};
      if (tensor.name == "model.map_layer1.weight") tensor.type = SafetensorsType::int32;
    }
  });
  CHECK(message_of(path) == "load_weights: " + path.string() +
                                ": expected the network's weights, got no model.map_layer0.bias; "
                                "model.map_layer1.weight of type I32; model.map_layer1.bias of [4, 8] instead of [32]; "
                                "an unknown model.map_layer9.bias");
}

TEST_CASE("Weights of another architecture are refused, every tensor by name") {
  const TemporaryFolder folder;
  auto saved = model(1);
  model_file::save(folder / "model.safetensors", saved);
  const auto path = changed(folder, folder / "model.safetensors", [](auto& metadata, auto&) {
    metadata["network"] = DhariwalUNet::name;
    metadata["network_settings"] = settings_json::text(DhariwalUNetOptions{.image = {8, 16},
                                                                           .in_channels = 3,
                                                                           .out_channels = 1,
                                                                           .label_dim = 3,
                                                                           .model_channels = 8,
                                                                           .channel_mult = {1, 2},
                                                                           .num_blocks = 1});
  });
  CHECK_THROWS_AS(model_file::load<DhariwalUNet>(path), DataError);
  CHECK_THROWS_WITH(model_file::load<DhariwalUNet>(path),
                    ContainsSubstring("load_weights: " + path.string() + ": expected the network's weights, got ") &&
                        ContainsSubstring("no model.out_conv.weight; ") &&
                        ContainsSubstring("model.enc.8x16_block0.affine.weight of [8, 32] instead of [16, 32]; ") &&
                        ContainsSubstring("an unknown model.dec.8x16_aux_conv.weight"));
}

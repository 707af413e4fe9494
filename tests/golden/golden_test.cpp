// SPDX-License-Identifier: Apache-2.0
// Holds the library against figures of the original implementation. Each safetensors file of a folder is one case;
// README.md beside this file has the format. One line per case says its largest error as a share of what is allowed.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <patchdiff/io/load_weights.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/torch.hpp>

#include "support/gaussian_denoiser.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;
using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& why) { throw std::runtime_error(why); }

/// The largest error of a case, as a share of what its figure's tolerance allows.
class Judge {
 public:
  /// Errors relative to the largest expected element.
  void relative(const std::string& figure, std::span<const double> got, std::span<const double> expected,
                double tolerance) {
    double largest = 0;
    for (const double value : expected) largest = std::max(largest, std::abs(value));
    absolute(figure, got, expected, tolerance * largest);
  }

  void absolute(const std::string& figure, std::span<const double> got, std::span<const double> expected,
                double tolerance) {
    if (got.size() != expected.size()) {
      refuse(fmt::format("{}: {} values instead of {}", figure, got.size(), expected.size()));
    }
    double error = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double difference = std::abs(got[i] - expected[i]);
      error = std::isfinite(difference) ? std::max(error, difference) : std::numeric_limits<double>::infinity();
    }
    const double share = tolerance > 0 ? error / tolerance : (error > 0 ? std::numeric_limits<double>::infinity() : 0);
    ++figures_;
    if (share >= worst_) {
      worst_ = share;
      worst_figure_ = fmt::format("{}: error {:.3g}, allowed {:.3g}", figure, error, tolerance);
    }
  }

  bool passes() const { return worst_ <= 1; }
  std::string summary() const {
    return fmt::format("largest error {:.3f} of the allowed ({}; {} figures)", worst_, worst_figure_, figures_);
  }

 private:
  double worst_ = 0;
  std::string worst_figure_ = "none";
  int figures_ = 0;
};

/// One file, with every name in it checked off: what a case does not use is a fault.
class Case {
 public:
  explicit Case(const fs::path& path) : path_(path), file_(path) {}

  std::string text(const std::string& key) {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) refuse(fmt::format("no \"{}\" in the metadata", key));
    used_keys_.insert(key);
    return found->second;
  }
  std::string text(const std::string& key, const std::string& fallback) {
    return file_.metadata().contains(key) ? text(key) : fallback;
  }
  double number(const std::string& key) { return Json::parse(text(key)).get<double>(); }
  double number(const std::string& key, double fallback) {
    if (!file_.metadata().contains(key)) return fallback;
    const std::string value = text(key);
    return value == "inf" ? std::numeric_limits<double>::infinity() : Json::parse(value).get<double>();
  }
  std::int64_t integer(const std::string& key) { return Json::parse(text(key)).get<std::int64_t>(); }

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  std::vector<double> values(const std::string& name) {
    used_tensors_.insert(name);
    return file_.at(name).values<double>();
  }
  at::Tensor tensor(const std::string& name, at::ScalarType type = at::kFloat) {
    const std::vector<double> all = values(name);
    return B::from_host(std::span<const double>(all), file_.at(name).shape, {at::kCPU, type});
  }
  pd::Shape shape(const std::string& name) const { return file_.at(name).shape; }
  std::vector<std::string> names(std::string_view prefix) const {
    std::vector<std::string> found;
    for (const auto& tensor : file_.tensors()) {
      if (std::string_view(tensor.name).starts_with(prefix)) found.push_back(tensor.name);
    }
    return found;
  }

  /// Fails on anything in the file that was not asked for.
  void finish() const {
    for (const auto& [key, value] : file_.metadata()) {
      if (!used_keys_.contains(key) && key != "kind") refuse(fmt::format("unknown metadata \"{}\"", key));
    }
    for (const auto& tensor : file_.tensors()) {
      if (!used_tensors_.contains(tensor.name)) refuse(fmt::format("unknown tensor \"{}\"", tensor.name));
    }
  }

  const fs::path& path() const { return path_; }
  const pd::SafetensorsReader& file() const { return file_; }

 private:
  fs::path path_;
  pd::SafetensorsReader file_;
  std::set<std::string> used_keys_;
  std::set<std::string> used_tensors_;
};

// -- Networks ---------------------------------------------------------------------------------------------------------

/// A setting by its name among the values of an enumeration.
template <pd::NamedEnum Enum>
Enum named(const Json& config, const std::string& key, Enum fallback) {
  if (!config.contains(key)) return fallback;
  const auto value = pd::value_named<Enum>(config.at(key).get<std::string>());
  if (!value) refuse(fmt::format("unknown value of \"{}\": {}", key, config.at(key).dump()));
  return *value;
}

/// The settings that every network has.
template <class Options>
Options common_options(Case& golden, const Json& config) {
  const std::int64_t side = golden.integer("img_resolution");
  return {.image = {side, side},
          .in_channels = golden.integer("img_channels") + 2,
          .out_channels = golden.integer("out_channels"),
          .label_dim = golden.integer("label_dim"),
          .augment_dim = config.value("augment_dim", std::int64_t{0}),
          .model_channels = config.at("model_channels").get<std::int64_t>(),
          .channel_mult = config.at("channel_mult").get<std::vector<std::int64_t>>(),
          .num_blocks = config.at("num_blocks").get<std::int64_t>(),
          .attn_resolutions = config.at("attn_resolutions").get<std::vector<std::int64_t>>(),
          .dropout = config.at("dropout").get<double>()};
}

void require_known(const Json& config, std::set<std::string> known) {
  known.merge(std::set<std::string>{"model_channels", "channel_mult", "num_blocks", "attn_resolutions", "dropout",
                                    "augment_dim"});
  for (const auto& [key, value] : config.items()) {
    if (!known.contains(key)) refuse(fmt::format("unknown setting \"{}\" of the network", key));
  }
}

using Network = pd::AnyNetwork<pd::SongUNet, pd::DhariwalUNet>;

Network make_network(Case& golden) {
  const std::string model = golden.text("model");
  const Json config = Json::parse(golden.text("config"));
  if (golden.number("sigma_data", 0.5) != 0.5) refuse("sigma_data other than 0.5");
  if (model == "DhariwalUNet") {
    require_known(config, {});
    return Network(pd::DhariwalUNet(common_options<pd::DhariwalUNetOptions>(golden, config)));
  }
  if (model != "SongUNet") refuse(fmt::format("unknown model \"{}\"", model));
  require_known(config, {"embedding_type", "encoder_type", "decoder_type", "implicit_mlp", "channel_mult_noise",
                         "resample_filter"});
  auto options = common_options<pd::SongUNetOptions>(golden, config);
  options.implicit_mlp = config.value("implicit_mlp", options.implicit_mlp);
  options.embedding_type = named(config, "embedding_type", options.embedding_type);
  options.encoder_type = named(config, "encoder_type", options.encoder_type);
  options.decoder_type = named(config, "decoder_type", options.decoder_type);
  options.channel_mult_noise = config.value("channel_mult_noise", options.channel_mult_noise);
  options.resample_filter = config.value("resample_filter", options.resample_filter);
  return Network(pd::SongUNet(options));
}

/// The network whose weights `golden` names, as a denoiser.
pd::DenoiserWrapper<Network> load_denoiser(Case& golden) {
  Network network = make_network(golden);
  const fs::path weights = golden.path().parent_path() / (golden.text("weights") + ".safetensors");
  pd::load_weights(network, pd::SafetensorsReader(weights), weights.string(), "model.");
  const std::int64_t side = golden.integer("img_resolution");
  return {std::move(network), {.image = {golden.integer("img_channels"), side, side}}};
}

/// The case's labels; the original takes none given for zeros.
pd::Conditioning<B> labels(Case& golden, std::int64_t label_dim, std::int64_t count) {
  pd::Conditioning<B> told;
  if (golden.has("augment_labels")) told.augment_labels = golden.tensor("augment_labels");
  if (label_dim == 0) return told;
  told.class_labels = golden.has("class_labels") ? golden.tensor("class_labels") : at::zeros({count, label_dim});
  return told;
}

/// The places at which CoordEncoder gives these coordinates [N, 2, h, w].
///
/// Corners are recovered from the first and last pixel, so that a case tests the encoder too.
pd::Places places_of(const at::Tensor& coords, pd::ImageSize image) {
  pd::Places places{{coords.size(2), coords.size(3)}, {}};
  const auto pixel = [](double position, std::int64_t extent) {
    return static_cast<std::int64_t>(std::lround((position + 1) / 2 * static_cast<double>(extent - 1)));
  };
  for (std::int64_t n = 0; n < coords.size(0); ++n) {
    places.at.push_back(pd::Place::at(pixel(coords[n][1][0][0].item<double>(), image.height),
                                      pixel(coords[n][0][0][0].item<double>(), image.width)));
  }
  return places;
}

void judge_coords(Judge& judge, const at::Tensor& expected, const pd::Places& places, pd::ImageSize image) {
  const at::Tensor got = pd::CoordEncoder<B>(image)(places, {});
  judge.absolute("coords", B::to_host(got), B::to_host(expected), 1e-6);
}

// -- Kinds ------------------------------------------------------------------------------------------------------------

void run_patches(Case& golden, Judge& judge) {
  const std::int64_t resolution = golden.integer("resolution");
  const std::int64_t side = golden.integer("patch_size");
  const std::int64_t padding = golden.integer("padding");
  golden.text("note", "");
  const at::Tensor images = golden.tensor("images");
  if (images.size(2) != resolution || images.size(3) != resolution) refuse("images of another resolution");
  const std::vector<double> top = golden.values("top"), left = golden.values("left");
  pd::Places places{{side, side}, {}};
  for (std::size_t n = 0; n < top.size(); ++n) {
    places.at.push_back(
        pd::Place::at(static_cast<std::int64_t>(top[n]) - padding, static_cast<std::int64_t>(left[n]) - padding));
  }
  const auto patches = pd::PatchSampler<B>(padding)({.images = images}, places);
  judge.absolute("patches", B::to_host(patches.images), golden.values("patches"), 0);
  if (padding == 0) judge_coords(judge, golden.tensor("coords"), places, {resolution, resolution});
}

void run_fourier_coords(Case& golden, Judge& judge) {
  const at::Tensor coords = golden.tensor("coords");
  if (golden.text("order", "for each frequency: sin(x,y) then cos(x,y)") !=
      "for each frequency: sin(x,y) then cos(x,y)") {
    refuse("another order");
  }
  const pd::ImageSize image{64, 64};
  const pd::CoordEncoder<B> encoder(image, {.fourier_frequencies = golden.integer("num_freqs"),
                                            .fourier_octaves = Json::parse(golden.text("log_sampling")).get<bool>()});
  judge.absolute("encoded", B::to_host(encoder.features(coords)), golden.values("encoded"), 1e-6);
}

void run_network(Case& golden, Judge& judge) {
  Network network = make_network(golden);
  golden.text("note", "");
  pd::load_weights(network, golden.file(), golden.path().string(), "model.");
  network.visit_state([&](std::string_view name, at::Tensor& value) {
    judge.absolute(std::string(name), B::to_host(value), golden.values(fmt::format("model.{}", name)), 0);
  });
}

void run_denoiser(Case& golden, Judge& judge) {
  auto denoiser = load_denoiser(golden);
  const at::Tensor x = golden.tensor("x"), coords = golden.tensor("coords");
  const Json patch = Json::parse(golden.text("patch_size"));
  const pd::ImageSize size = patch.is_array()
                                 ? pd::ImageSize{patch.at(0).get<std::int64_t>(), patch.at(1).get<std::int64_t>()}
                                 : pd::ImageSize{patch.get<std::int64_t>(), patch.get<std::int64_t>()};
  if (pd::ImageSize{x.size(2), x.size(3)} != size) refuse("x of another patch size");
  const pd::Places places = places_of(coords, denoiser.image().size());
  judge_coords(judge, coords, places, denoiser.image().size());
  const std::vector<double> sigma = golden.values("sigma");
  const pd::Conditioning<B> conditioning = labels(golden, denoiser.label_dim(), x.size(0));

  const std::vector<double> expected = golden.values("denoised");
  judge.relative("denoised", B::to_host(denoiser(x, sigma, places, conditioning)), expected, 2e-5);
  const auto record = denoiser.record(x, sigma, places, conditioning, {.training = true, .input_gradient = true});
  judge.relative("denoised (recorded)", B::to_host(record.denoised), expected, 2e-5);
  pd::zero_gradients(denoiser);
  const auto grad_x = denoiser.backward(record, golden.tensor("cotangent"));
  judge.relative("grad_x", B::to_host(*grad_x), golden.values("grad_x"), 1e-4);
  denoiser.visit_parameters([&](std::string_view name, at::Tensor&, at::Tensor& gradient) {
    const std::string figure = fmt::format("grad_norm.model.{}", name);
    judge.relative(figure, std::vector<double>{gradient.to(at::kDouble).norm().item<double>()}, golden.values(figure),
                   1e-4);
  });
}

/// As TrainStep does it, but with the case's own draws.
void run_training_steps(Case& golden, Judge& judge) {
  auto denoiser = load_denoiser(golden);
  const auto patch_sizes = Json::parse(golden.text("patch_sizes")).get<std::vector<std::int64_t>>();
  const auto betas = Json::parse(golden.text("ema_beta_per_step")).get<std::vector<double>>();
  if (golden.text("optimizer") != "Adam(lr=1e-3, betas=(0.9,0.999), eps=1e-4)") refuse("another optimizer");
  if (golden.text("loss") != "sum over elements / batch, backward") refuse("another loss");
  if (betas.size() != patch_sizes.size()) refuse("one beta per step");
  const std::vector<double> loss_means = golden.values("loss_mean");
  const double p_mean = golden.number("P_mean"), p_std = golden.number("P_std");
  const pd::EDMLoss<B> loss{{.sigma = pd::SigmaDistribution::log_normal(p_mean, p_std)}};
  pd::Adam<B> adam({.learning_rate = 1e-3, .epsilon = 1e-4});
  pd::EMA<B> ema(denoiser);
  for (std::size_t step = 0; step < patch_sizes.size(); ++step) {
    const auto name = [&](const char* what) { return fmt::format("step{}.{}", step, what); };
    const std::vector<double> top = golden.values(name("top")), left = golden.values(name("left"));
    pd::Places places{{patch_sizes[step], patch_sizes[step]}, {}};
    for (std::size_t n = 0; n < top.size(); ++n) {
      places.at.push_back(pd::Place::at(static_cast<std::int64_t>(top[n]), static_cast<std::int64_t>(left[n])));
    }
    const auto patches = pd::PatchSampler<B>{}({.images = golden.tensor(name("images"))}, places);
    std::vector<double> sigma;
    for (const double normal : golden.values(name("rnd_normal"))) {
      sigma.push_back(loss.options().sigma->quantile(0.5 * std::erfc(-normal / std::sqrt(2.0))));
    }
    const std::vector<double> one(sigma.size(), 1.0);
    const at::Tensor noisy = B::combine(one, patches.images, sigma, golden.tensor(name("noise")));
    const pd::Conditioning<B> conditioning{.class_labels = golden.tensor(name("labels"))};
    pd::zero_gradients(denoiser);
    const auto record = denoiser.record(noisy, sigma, places, conditioning, {.training = true});
    const auto value = loss(denoiser.formulation(), record.denoised, patches.images, sigma);
    denoiser.backward(record, value.gradient, 1 / static_cast<double>(top.size()));
    adam.step(denoiser, B::finite_flag({}));
    ema.blend(denoiser, betas[step]);

    const double mean = value.per_sample.to(at::kDouble).sum().item<double>() / static_cast<double>(noisy.numel());
    judge.relative(name("loss_mean"), std::vector<double>{mean}, std::vector<double>{loss_means.at(step)}, 1e-5);
    if (golden.has(name("loss_map"))) {
      const at::Tensor map = loss.pixel_losses(denoiser.formulation(), record.denoised, patches.images, sigma);
      judge.relative(name("loss_map"), B::to_host(map), golden.values(name("loss_map")), 1e-5);
    }
  }
  auto averaged = ema.apply_to(denoiser.clone());
  const auto judge_weight = [&](const char* prefix, std::string_view name, const at::Tensor& weight) {
    const std::string figure = fmt::format("{}.model.{}", prefix, name);
    judge.absolute(figure, B::to_host(weight), golden.values(figure), 1e-4);
  };
  denoiser.visit_state([&](std::string_view name, at::Tensor& weight) { judge_weight("final", name, weight); });
  averaged.visit_parameters(
      [&](std::string_view name, at::Tensor& weight, at::Tensor&) { judge_weight("ema", name, weight); });
}

void run_edm_sampler(Case& golden, Judge& judge) {
  auto denoiser = load_denoiser(golden);
  const pd::ODESampler sampler({.num_steps = static_cast<std::int64_t>(golden.number("num_steps", 18)),
                                .schedule = pd::SigmaSchedule::edm({.sigma_min = golden.number("sigma_min", 0.002),
                                                                    .sigma_max = golden.number("sigma_max", 80),
                                                                    .rho = golden.number("rho", 7)})},
                               pd::Churn({.s_churn = golden.number("S_churn", 0),
                                          .s_tmin = golden.number("S_min", 0),
                                          .s_tmax = golden.number("S_max", std::numeric_limits<double>::infinity()),
                                          .s_noise = golden.number("S_noise", 1)}));
  const at::Tensor latents = golden.tensor("latents", at::kDouble);
  const at::Tensor coords = golden.tensor("coords").unsqueeze(0);
  const pd::ImageSize image = denoiser.image().size();
  pd::Place place = pd::Place::at(0, 0);
  if (const Json region = Json::parse(golden.text("region")); !region.is_null()) {
    place = pd::Place::at(region.at(1).get<std::int64_t>(), region.at(0).get<std::int64_t>());
    if (region.at(2).get<std::int64_t>() != latents.size(2)) refuse("latents of another size than the region");
  }
  const pd::ImageSize size{latents.size(2), latents.size(3)};
  judge_coords(judge, coords, pd::Places::repeated(size, place, 1), image);
  const pd::Places places = pd::Places::repeated(size, place, latents.size(0));
  std::optional<at::Tensor> churn;
  if (golden.has("churn_noise")) churn = golden.tensor("churn_noise", at::kDouble);
  const auto churn_noise = [&](std::int64_t step, std::int64_t) { return churn.value()[step]; };

  const pd::Conditioning<B> conditioning = labels(golden, denoiser.label_dim(), latents.size(0));
  const Json guidance = Json::parse(golden.text("cfg"));
  const at::Tensor samples =
      guidance.is_null() ? sampler.solve(denoiser, latents, places, conditioning, churn_noise)
                         : sampler.solve(pd::AnyDenoiser<B>(pd::GuidedDenoiser(denoiser, guidance.get<double>())),
                                         latents, places, conditioning, churn_noise);
  judge.absolute("samples", B::to_host(samples), golden.values("samples"), 5e-4);
}

/// A choice by name among those that this page of the format has.
template <class Value>
Value choice(Case& golden, const std::string& key, const std::map<std::string, Value>& known) {
  const std::string name = golden.text(key);
  const auto found = known.find(name);
  if (found == known.end()) refuse(fmt::format("unknown {} \"{}\"", key, name));
  return found->second;
}

void run_ode_sampler(Case& golden, Judge& judge) {
  const at::Tensor latents = golden.tensor("latents", at::kDouble);
  const pd::GaussianDenoiser<B> denoiser{.shape = {latents.size(1), latents.size(2), latents.size(3)},
                                         .mean = golden.number("mu"),
                                         .deviation = golden.number("sd"),
                                         .on = {at::kCPU, at::kDouble}};
  if (golden.text("denoiser") != "Gaussian posterior mean for data N(mu, sd^2)") refuse("another denoiser");
  if (golden.number("S_churn") != 0) refuse("churn");
  const std::string discretization = golden.text("discretization");
  const auto schedule = choice<pd::SigmaSchedule>(golden, "discretization",
                                                  {{"vp", pd::VP{.beta_d = 19.1}.sigma_schedule()},
                                                   {"ve", pd::VE{}.sigma_schedule()},
                                                   {"iddpm", pd::IDDPM{}.sigma_schedule()},
                                                   {"edm", pd::EDM{}.sigma_schedule()}});
  // The original takes iDDPM's range, not that of the table's values in it.
  const std::vector<double> range = discretization == "iddpm" ? std::vector<double>{81, 0.002} : schedule(2);
  const auto timed = choice<pd::NoiseProcess>(golden, "schedule",
                                              {{"vp", pd::VP::from_range(range[1], range[0]).process()},
                                               {"ve", pd::VE{}.process()},
                                               {"linear", pd::EDM{}.process()}});
  const auto process =
      choice<pd::NoiseProcess>(golden, "scaling", {{"none", timed.unscaled()}, {"vp", timed.variance_preserving()}});
  const pd::ODESamplerOptions options{
      .num_steps = golden.integer("num_steps"), .schedule = schedule, .process = process};
  const double alpha = golden.number("alpha");
  const auto run = [&](const auto& solver) {
    const auto no_noise = [](std::int64_t, std::int64_t) -> at::Tensor { refuse("a solver that draws noise"); };
    const pd::Places places = pd::Places::whole(denoiser.image().size(), latents.size(0));
    const at::Tensor samples = pd::ODESampler(options, solver).solve(denoiser, latents, places, {}, no_noise);
    judge.absolute("samples", B::to_host(samples), golden.values("samples"), discretization == "iddpm" ? 2e-6 : 1e-9);
  };
  if (choice<bool>(golden, "solver", {{"euler", true}, {"heun", false}})) {
    run(pd::Euler{});
  } else {
    run(pd::Heun(alpha));
  }
}

const std::map<std::string, void (*)(Case&, Judge&)> kinds{
    {"patches", run_patches},         {"network", run_network},
    {"denoiser", run_denoiser},       {"training_steps", run_training_steps},
    {"edm_sampler", run_edm_sampler}, {"fourier_coords", run_fourier_coords},
    {"ode_sampler", run_ode_sampler},
};

std::string run(const fs::path& path, Judge& judge) {
  Case golden(path);
  const std::string kind = golden.text("kind");
  const auto found = kinds.find(kind);
  if (found == kinds.end()) refuse(fmt::format("unknown kind \"{}\"", kind));
  found->second(golden, judge);
  golden.finish();
  return kind;
}

}  // namespace

int main() {
  at::set_num_threads(2);
  const char* chosen = std::getenv("PATCHDIFF_GOLDEN_DIR");
  const fs::path folder = chosen != nullptr && *chosen != '\0' ? chosen : PATCHDIFF_GOLDEN_DIR;
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  int passed = 0, failed = 0;
  for (const fs::path& path : files) {
    const std::string name = path.stem().string();
    try {
      Judge judge;
      const std::string kind = run(path, judge);
      std::printf("%-6s %s (%s): %s\n", judge.passes() ? "ok" : "FAILED", name.c_str(), kind.c_str(),
                  judge.summary().c_str());
      ++(judge.passes() ? passed : failed);
    } catch (const std::exception& fault) {
      std::printf("FAILED %s: %s\n", name.c_str(), fault.what());
      ++failed;
    }
  }
  std::printf("%d passed, %d failed, in %s\n", passed, failed, folder.string().c_str());
  if (files.empty()) std::printf("FAILED: no case there\n");
  return failed > 0 || files.empty() ? 1 : 0;
}

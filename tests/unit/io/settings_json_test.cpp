// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include <patchdiff/core/average_info.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/iddpm.hpp>
#include <patchdiff/diffusion/sub_vp.hpp>
#include <patchdiff/diffusion/ve.hpp>
#include <patchdiff/diffusion/vp.hpp>
#include <patchdiff/io/settings_json.hpp>
#include <patchdiff/nn/song_unet_options.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"

namespace patchdiff {
namespace {

TEST_CASE("a model's settings keep its formulation, whichever it is") {
  for (const Formulation& formulation :
       {Formulation(EDM{.sigma_data = 0.3}), Formulation(IDDPM{}), Formulation(SubVP{.beta_d = 18, .beta_min = 0.2}),
        Formulation(VE{.sigma_min = 0.1, .sigma_max = 50}), Formulation(VP{.beta_d = 18, .beta_min = 0.2})}) {
    CAPTURE(formulation.name());
    const std::string text = settings_json::text(DenoiserOptions{.image = {1, 8, 8}, .formulation = formulation});
    const auto again = settings_json::options<DenoiserOptions>(text, "here");
    CHECK(again.formulation.name() == formulation.name());
    CHECK(again.formulation.preconditioning(0.4).c_noise == formulation.preconditioning(0.4).c_noise);
    CHECK(again.formulation.preconditioning(0.4).c_skip == formulation.preconditioning(0.4).c_skip);
    CHECK(again.formulation.sigma_schedule()(5) == formulation.sigma_schedule()(5));
    CHECK(settings_json::text(again) == text);
  }
}

TEST_CASE("settings nested so deep that writing them out would use up the stack are refused") {
  const std::string deep(1'000'000, '[');
  CHECK_ERROR(DataError, "settings: here: expected a JSON object, got other text",
              settings_json::options<DenoiserOptions>(deep, "here"));
  CHECK_ERROR(
      DataError, "settings: here: expected a JSON object, got other text",
      settings_json::options<DenoiserOptions>(R"({"image":)" + deep + std::string(deep.size(), ']') + "}", "here"));
}

TEST_CASE("brackets nest 64 deep and no deeper, those in strings apart") {
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  CHECK(is_shallow_json(nested(64)));
  CHECK_FALSE(is_shallow_json(nested(65)));
  CHECK(is_shallow_json(nested(64) + nested(64)));
  CHECK(is_shallow_json(R"({"a\"": ")" + nested(65) + R"("})"));
  CHECK_FALSE(is_shallow_json(R"({"a\\": )" + nested(65) + "}"));
}

TEST_CASE("a formulation in a file that cannot work is refused") {
  const auto read = [](const std::string& formulation) {
    const std::string text = settings_json::text(DenoiserOptions{.image = {1, 8, 8}});
    const std::string known = R"({"name":"edm","sigma_data":0.5})";
    return settings_json::options<DenoiserOptions>(
        std::string(text).replace(text.find(known), known.size(), formulation), "here");
  };
  CHECK_ERROR(DataError,
              "Formulation: name: expected one of \"edm\", \"iddpm\", \"sub_vp\", \"ve\", \"vp\", got \"flow\"",
              read(R"({"name":"flow"})"));
  CHECK_ERROR(
      DataError,
      R"(settings: here: expected a sound value of "formulation" (preconditioning and loss weight), got {"name":"vp"})",
      read(R"({"name":"vp"})"));
  CHECK_ERROR(ConfigError, "VP: beta_d: expected a finite value > 0, got -1",
              read(R"({"name":"vp","beta_d":-1.0,"beta_min":0.1})"));
}

TEST_CASE("lists and sizes in a file are read as they are, or refused") {
  const auto refuses = [](const std::string& text, const std::string& key) {
    CAPTURE(text);
    SongUNetOptions options;
    CHECK_THROWS_WITH(settings_json::read(settings_json::parse(text), options, "here", settings_json::Keys::some),
                      Catch::Matchers::StartsWith("settings: here: expected a sound value of \"" + key + "\" ("));
  };
  for (const std::string value : {"4", "null", "{\"a\":1,\"b\":2}", "[1,2.5]", "[\"1\"]", "[9223372036854775808]"}) {
    refuses("{\"channel_mult\":" + value + "}", "channel_mult");
  }
  for (const std::string value : {"28", "[28]", "[28,28,28]", "[28.0,28]", "{\"a\":28,\"b\":28}"}) {
    refuses("{\"image\":" + value + "}", "image");
  }
  for (const std::string value : {"9223372036854775808", "18446744073709551615", "64.0"}) {
    refuses("{\"model_channels\":" + value + "}", "model_channels");
  }
  for (const std::string value : {"[28,28]", "[3.9,28.7,28.2]", "[3,28,28,99]", "[3,28,18446744073709551615]"}) {
    CAPTURE(value);
    DenoiserOptions options;
    CHECK_THROWS_WITH(
        settings_json::read(settings_json::parse("{\"image\":" + value + "}"), options, "here",
                            settings_json::Keys::some),
        "settings: here: expected a sound value of \"image\" (channels, height and width of full images), "
        "got " +
            value);
  }
  SongUNetOptions options;
  settings_json::read(
      settings_json::parse(R"({"image":[28,32],"channel_mult":[],"model_channels":9223372036854775807})"), options,
      "here", settings_json::Keys::some);
  CHECK(options.image == ImageSize{28, 32});
  CHECK(options.channel_mult.empty());
  CHECK(options.model_channels == std::numeric_limits<std::int64_t>::max());
}

TEST_CASE("settings that are not finite are not written, as they could not be read") {
  CHECK_ERROR(ConfigError, "settings: halflife_images: expected a finite value, got inf",
              settings_json::text(AverageInfo{.halflife_images = std::numeric_limits<double>::infinity()}));
  CHECK_ERROR(ConfigError, "settings: deviation: expected a finite value, got nan",
              settings_json::text(Normalization{.mean = {0, 0}, .deviation = {1, std::nan("")}}));
}

}  // namespace
}  // namespace patchdiff

// SPDX-License-Identifier: Apache-2.0
#include "evaluation.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/metrics/bootstrap.hpp>
#include <patchdiff/metrics/feature_manifold.hpp>
#include <patchdiff/metrics/frechet_distance.hpp>
#include <patchdiff/metrics/per_class.hpp>

namespace pd = patchdiff;

namespace {

using Json = pd::settings_json::Json;

std::vector<pd::FeatureSet> by_class(const ImageFeatures& images, std::size_t classes) {
  if (classes == 0) return {};
  pd::PerClass<pd::FeatureSet> sets(static_cast<std::int64_t>(classes), images.features.dimension());
  sets.add(images.features.values(), images.labels);
  std::vector<pd::FeatureSet> all;
  for (std::int64_t label = 0; label < sets.classes(); ++label) all.push_back(sets[label]);
  return all;
}

pd::FeatureSet first(const pd::FeatureSet& set, std::int64_t count) {
  std::vector<std::int64_t> vectors(static_cast<std::size_t>(count));
  std::iota(vectors.begin(), vectors.end(), std::int64_t{0});
  return set.subset(vectors);
}

double mean_of(const pd::FeatureSet& set) { return set.rows().mean(); }

/// The metric of the set, and its spread over sets that are drawn again from it, around that.
template <class Metric>
Figure figure(const pd::FeatureSet& set, const Metric& metric, std::int64_t resamples) {
  Figure figure{.value = metric(set)};
  if (resamples == 0) return figure;
  const pd::BootstrapInterval spread = pd::bootstrap(set, metric, {.resamples = resamples});
  const double shift = figure.value - spread.mean;
  figure.interval = {std::max(0.0, spread.lower + shift), spread.upper + shift};
  return figure;
}

/// The share of a set's vectors that lie on a manifold.
Figure share_on(const pd::FeatureManifold& manifold, const pd::FeatureSet& set, std::int64_t resamples) {
  const std::vector<std::uint8_t> inside = manifold.contains(set);
  pd::FeatureSet marks(1);
  marks.add(std::vector<double>(inside.begin(), inside.end()));
  return figure(marks, mean_of, resamples);
}

std::string text_of(const std::optional<Figure>& figure) {
  if (!figure) return "-";
  std::string text = fmt::format("{:.4g}", figure->value);
  if (figure->interval) text += fmt::format(" ({:.4g} to {:.4g})", (*figure->interval)[0], (*figure->interval)[1]);
  return text;
}

std::vector<std::string> row_of(const std::string& name, const Figures& figures) {
  const auto& kernel = figures.kernel_distance;
  return {name,
          fmt::format("{}", figures.images),
          text_of(figures.frechet_distance),
          kernel ? fmt::format("{:.3g} ± {:.2g}", kernel->mean, kernel->deviation) : "-",
          text_of(figures.precision),
          text_of(figures.recall)};
}

Json json_of(const std::optional<Figure>& figure) {
  if (!figure) return nullptr;
  Json json{{"value", figure->value}};
  if (figure->interval) json["interval"] = *figure->interval;
  return json;
}

Json json_of(const Figures& figures) {
  Json kernel;
  if (figures.kernel_distance) {
    kernel = {{"value", figures.kernel_distance->mean},
              {"deviation", figures.kernel_distance->deviation},
              {"subset_size", figures.subset_size}};
  }
  return {{"images", figures.images},
          {"reference_images", figures.reference},
          {"frechet_distance", json_of(figures.frechet_distance)},
          {"kernel_distance", kernel},
          {"precision", json_of(figures.precision)},
          {"recall", json_of(figures.recall)}};
}

}  // namespace

Evaluation::Evaluation(ImageFeatures reference, EvaluationOptions options)
    : options_(std::move(options)), reference_(std::move(reference)) {
  warn_of_few(reference_);
  reference_classes_ = by_class(reference_, options_.class_names.size());
}

Judgement Evaluation::judge(const ImageFeatures& images) const {
  warn_of_few(images);
  Judgement judgement{.name = images.name, .all = figures(reference_.features, images.features)};
  const std::vector<pd::FeatureSet> classes = by_class(images, options_.class_names.size());
  for (std::size_t label = 0; label < classes.size(); ++label) {
    judgement.classes.push_back(figures(reference_classes_[label], classes[label]));
  }
  return judgement;
}

Figures Evaluation::figures(const pd::FeatureSet& reference, const pd::FeatureSet& images) const {
  Figures found{.images = images.count(), .reference = reference.count()};
  const std::int64_t smaller = std::min(images.count(), reference.count());
  if (smaller < least) return found;

  const pd::FeatureStatistics real = reference.statistics();
  const auto frechet = [&](const pd::FeatureSet& set) { return pd::frechet_distance(set.statistics(), real); };
  found.frechet_distance = figure(images, frechet, options_.resamples);

  found.subset_size = std::min<std::int64_t>(1000, smaller / 2);
  found.kernel_distance =
      pd::kernel_distance(reference, images, {.subset_size = found.subset_size, .executor = options_.executor});

  const pd::FeatureSet real_part = first(reference, smaller), part = first(images, smaller);
  found.precision = share_on(pd::FeatureManifold(real_part, {.executor = options_.executor}), part, options_.resamples);
  found.recall = share_on(pd::FeatureManifold(part, {.executor = options_.executor}), real_part, options_.resamples);
  return found;
}

void Evaluation::warn_of_few(const ImageFeatures& images) const {
  constexpr std::string_view component = "evaluate";
  const std::int64_t count = images.features.count(), dimension = images.features.dimension();
  if (count < least) {
    throw pd::DataError(component, images.name, fmt::format("at least {}", least), fmt::format("{}", count));
  }
  if (!options_.log) return;
  const auto warn = [&](const std::string& name, const std::string& expected, std::int64_t got) {
    options_.log(fmt::format("{}: {}: expected {}, got {}", component, name, expected, got));
  };
  // Of classes, the smallest one speaks for all.
  std::string smallest = images.name;
  std::int64_t fewest = count;
  const std::vector<pd::FeatureSet> classes = by_class(images, options_.class_names.size());
  for (std::size_t label = 0; label < classes.size(); ++label) {
    const std::string name = fmt::format("{} of class \"{}\"", images.name, options_.class_names[label]);
    if (classes[label].count() < least) warn(name, fmt::format("at least {}", least), classes[label].count());
    if (classes[label].count() >= fewest) continue;
    fewest = classes[label].count();
    smallest = name;
  }
  if (fewest < least) return;
  if (fewest <= dimension) {
    warn(smallest, fmt::format("more than {} for a Fréchet distance of as many features", dimension), fewest);
  }
  if (fewest < few) warn(smallest, fmt::format("at least {} for the other figures to say much", few), fewest);
}

std::string table_of(const std::vector<Judgement>& judgements, const std::vector<std::string>& class_names) {
  std::vector<std::vector<std::string>> rows{{"", "images", "FD", "KID", "precision", "recall"}};
  for (const Judgement& judgement : judgements) {
    rows.push_back(row_of(judgement.name, judgement.all));
    for (std::size_t label = 0; label < judgement.classes.size(); ++label) {
      rows.push_back(row_of("  " + class_names[label], judgement.classes[label]));
    }
  }
  const auto letters = [](const std::string& text) {  // of UTF-8
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; }));
  };
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], letters(row[column]));
    }
  }
  std::string table;
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      const std::string padding(widths[column] - letters(row[column]), ' ');
      table += column == 0 ? row[column] + padding : "  " + padding + row[column];
    }
    table += '\n';
  }
  return table;
}

Json json_of(const std::vector<Judgement>& judgements, const std::vector<std::string>& class_names) {
  Json all = Json::array();
  for (const Judgement& judgement : judgements) {
    Json json{{"name", judgement.name}};
    json.update(json_of(judgement.all));
    for (std::size_t label = 0; label < judgement.classes.size(); ++label) {
      Json of_class{{"class", class_names[label]}};
      of_class.update(json_of(judgement.classes[label]));
      json["classes"].push_back(std::move(of_class));
    }
    all.push_back(std::move(json));
  }
  return all;
}

// SPDX-License-Identifier: Apache-2.0
#include "loss_picture.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include <fmt/format.h>

#include "plot.hpp"

namespace {

constexpr std::int64_t width = 720, height = 400, left = 56, right = 24, top = 24, bottom = 40;
constexpr Plot::Colour ink{60, 60, 60}, grid{225, 225, 225}, grey{190, 196, 204}, blue{20, 80, 180};

/// `0.05`, `20k`, `1.5M`.
std::string tick_text(double value) {
  if (value >= 1e6) return fmt::format("{:g}M", value / 1e6);
  if (value >= 1e3) return fmt::format("{:g}k", value / 1e3);
  return fmt::format("{:g}", value);
}

/// Images from 0 along x, the loss's logarithm along y.
class Axes {
 public:
  explicit Axes(const std::vector<LossPoint>& points) {
    if (points.empty()) return;
    const auto [least, most] = std::minmax_element(
        points.begin(), points.end(), [](const LossPoint& a, const LossPoint& b) { return a.loss < b.loss; });
    lowest_ = 0.9 * least->loss;
    highest_ = 1.1 * most->loss;
    images_ = std::max(1.0, static_cast<double>(points.back().images));
  }

  std::int64_t x(double images) const { return left + std::llround(images / images_ * (width - left - right)); }
  std::int64_t y(double loss) const {
    const double share = std::log(loss / lowest_) / std::log(highest_ / lowest_);
    return height - bottom - std::llround(share * (height - top - bottom));
  }

  void draw(Plot& plot) const {
    const double exponent = std::pow(10, std::floor(std::log10(images_ / 4)));
    const double step = exponent * (images_ / 4 < 2 * exponent ? 1 : images_ / 4 < 5 * exponent ? 2 : 5);
    for (double images = 0; images <= images_; images += step) {
      const std::string label = tick_text(images);
      plot.line(x(images), top, x(images), height - bottom, grid);
      plot.text(x(images) - static_cast<std::int64_t>(label.size()) * Plot::letter_width / 2, height - bottom + 8,
                label, ink);
    }
    for (double decade = std::pow(10, std::floor(std::log10(lowest_))); decade <= highest_; decade *= 10) {
      for (const double factor : {1.0, 1.5, 2.0, 3.0, 5.0, 7.0}) {
        const double loss = decade * factor;
        if (loss < lowest_ || loss > highest_) continue;
        const std::string label = tick_text(loss);
        plot.line(left, y(loss), width - right, y(loss), grid);
        plot.text(left - 8 - static_cast<std::int64_t>(label.size()) * Plot::letter_width,
                  y(loss) - Plot::letter_height / 2, label, ink);
      }
    }
    plot.line(left, top, left, height - bottom, ink);
    plot.line(left, height - bottom, width - right, height - bottom, ink);
    plot.text(left, top - 14, "loss", ink);
    plot.text(width - right - 6 * Plot::letter_width, height - bottom + 22, "images", ink);
  }

 private:
  double lowest_ = 0.1, highest_ = 1, images_ = 1;
};

/// The geometric mean of each point and its neighbours, a fortieth of all points.
std::vector<LossPoint> smoothed(const std::vector<LossPoint>& points) {
  std::vector<double> sums{0};
  for (const LossPoint& point : points) sums.push_back(sums.back() + std::log(point.loss));
  const std::size_t reach = points.size() / 80;
  std::vector<LossPoint> means;
  for (std::size_t index = 0; index < points.size(); ++index) {
    const std::size_t begin = index > reach ? index - reach : 0, end = std::min(points.size(), index + reach + 1);
    means.push_back({points[index].images, std::exp((sums[end] - sums[begin]) / static_cast<double>(end - begin))});
  }
  return means;
}

}  // namespace

patchdiff::Picture loss_picture(const std::vector<LossPoint>& all) {
  std::vector<LossPoint> points;
  for (const LossPoint& point : all) {
    if (point.loss > 0 && std::isfinite(point.loss)) points.push_back(point);
  }
  Plot plot({height, width});
  const Axes axes(points);
  axes.draw(plot);
  const auto curve = [&](const std::vector<LossPoint>& line, Plot::Colour colour, std::int64_t thickness) {
    for (std::size_t index = 0; index < line.size(); ++index) {
      const LossPoint &from = line[index > 0 ? index - 1 : 0], &to = line[index];
      for (std::int64_t shift = 0; shift < thickness; ++shift) {
        plot.line(axes.x(static_cast<double>(from.images)), axes.y(from.loss) + shift,
                  axes.x(static_cast<double>(to.images)), axes.y(to.loss) + shift, colour);
      }
    }
  };
  curve(points, grey, 1);
  curve(smoothed(points), blue, 2);
  return plot.picture();
}

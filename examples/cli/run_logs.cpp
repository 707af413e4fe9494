// SPDX-License-Identifier: Apache-2.0
#include "run_logs.hpp"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include <fmt/format.h>

#include <patchdiff/io/png.hpp>

namespace pd = patchdiff;

namespace {

std::string host_name() {
  std::vector<char> name(256);
  if (::gethostname(name.data(), name.size() - 1) != 0 || name.front() == '\0') return "host";
  return name.data();
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The path, from which the steps after `step` are taken out first.
std::filesystem::path cut_at(std::filesystem::path path, std::uint64_t step, StepOfLine step_of) {
  cut_log(path, step, step_of);
  return path;
}

}  // namespace

RunLogs::RunLogs(const RunFolder& folder, const LogSettings& settings, pd::LossTable table, Draw draw,
                 std::uint64_t step)
    : folder_(folder.path()),
      settings_(settings),
      table_(std::move(table)),
      draw_(std::move(draw)),
      losses_(cut_at(folder / RunFolder::losses, step, step_of_row), loss_columns),
      losses_by_sigma_(cut_at(folder / RunFolder::losses_by_sigma, step, step_of_row),
                       {"step", "images", "patch", "sigma_begin", "sigma_end", "samples", "loss", "gradient_norm"}) {
  if (settings.json_lines) json_lines_.emplace(cut_at(folder / RunFolder::json_lines, step, step_of_object));
  if (settings.tensorboard) {
    tensorboard_.emplace(pd::TensorBoardLogOptions{.folder = folder_,
                                                   .host = host_name(),
                                                   .wall_time = seconds_since_1970,
                                                   .first_step = static_cast<std::int64_t>(step > 0 ? step + 1 : 0)});
  }
}

void RunLogs::add(const pd::StepReport<B>& report, const pd::TrainState& state, double learning_rate, double seconds) {
  const double loss = report.loss();
  const std::int64_t patch = report.plan.patch.height;
  losses_.append({state.step, state.images, patch, loss, seconds});
  table_.add(report);
  std::vector<std::pair<std::string, double>> more{{"loss", loss}, {"learning_rate", learning_rate}};
  if (report.gradient_norm) more.emplace_back("gradient_norm", B::to_host(*report.gradient_norm).front());
  if (json_lines_) {
    std::vector<std::pair<std::string, pd::JsonLinesLog::Value>> fields{
        {"step", state.step}, {"images", state.images}, {"patch", patch}, {"seconds", seconds}};
    fields.insert(fields.end(), more.begin(), more.end());
    fields.emplace_back("skipped", state.skipped);
    json_lines_->append(fields);
  }
  if (tensorboard_) {
    std::vector<pd::TensorBoardLog::Scalar> scalars{{"images", static_cast<double>(state.images)},
                                                    {fmt::format("loss/patch {}", patch), loss}};
    for (const auto& [tag, value] : more) scalars.push_back({tag == "loss" ? "loss/all" : tag, value});
    tensorboard_->append(static_cast<std::int64_t>(state.step), scalars);
  }
}

void RunLogs::write_table(const pd::TrainState& state) {
  for (const pd::LossTable::Row& row : table_.rows()) {
    losses_by_sigma_.append({state.step, state.images, row.patch.height, row.sigma_begin, row.sigma_end, row.samples,
                             row.loss, row.gradient_norm});
  }
  table_.reset();
  losses_.sync();
  losses_by_sigma_.sync();
  if (json_lines_) json_lines_->sync();
  if (tensorboard_) tensorboard_->sync();
}

void RunLogs::add_samples(const Denoiser& averaged, std::uint64_t step) {
  const pd::Picture picture = draw_(averaged);
  pd::write_png(folder_ / fmt::format("samples-{:07}.png", step), picture);
  if (tensorboard_) tensorboard_->append(static_cast<std::int64_t>(step), "samples", picture);
}

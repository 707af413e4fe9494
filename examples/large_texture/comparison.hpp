// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include <ATen/core/Tensor.h>

#include <patchdiff/data/mapped_array.hpp>

/// Writes pictures with the texture left and what was drawn, [1, 1, side, side], right: whole.png, both in 512 pixels,
/// and part.png, 400 pixels as they are, around corners of windows. Prints their means and standard deviations.
///
/// The sides are multiples of 512; the texture is read in bands.
void write_comparison(const std::filesystem::path& folder, const patchdiff::MappedArray& texture,
                      const at::Tensor& drawn);

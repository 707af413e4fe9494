// SPDX-License-Identifier: Apache-2.0
// What every backend must do; each backend runs it from a file of its own. Include the catch header first.
//
// A fixture has a `Backend`, `device()`, the `rounding` of its scalar type, relative to the largest value, and the
// `trajectory_tolerance` of what a short training leaves of it.
#pragma once

#include "conformance/bad_input.hpp"
#include "conformance/components.hpp"
#include "conformance/likelihood.hpp"
#include "conformance/primitives.hpp"
#include "conformance/solvers.hpp"
#include "conformance/tiling.hpp"
#include "conformance/trajectory.hpp"

namespace patchdiff::conformance {

template <class Fixture>
void run_suite() {
  using Primitive = Primitives<Fixture>;
  using Bad = BadInput<Fixture>;
  SECTION("from_host, to_host, zeros") { Primitive::transfers(); }
  SECTION("widen, narrow") { Primitive::precision(); }
  SECTION("crop") { Primitive::crop(); }
  SECTION("accumulate_patches") { Primitive::accumulate_patches(); }
  SECTION("coordinate_grid") { Primitive::coordinate_grid(); }
  SECTION("fourier_features") { Primitive::fourier_features(); }
  SECTION("concat, slice") { Primitive::concat_and_slice(); }
  SECTION("scale, combine, multiply, sum_per_sample") { Primitive::arithmetic(); }
  SECTION("clone, assign, set_zero, accumulate, blend") { Primitive::writing(); }
  SECTION("finite_flag, read_flag") { Primitive::finite_flag(); }
  SECTION("norm") { Primitive::norm(); }
  SECTION("clip_norm") { Primitive::clip_norm(); }
  SECTION("adam_update") { Primitive::adam_update(); }
  SECTION("the same draws") { same_draws<Fixture>(); }
  SECTION("the same values and gradients of the components") { same_components<Fixture>(); }
  SECTION("the same run of training and sampling") { same_trajectory<Fixture>(); }
  SECTION("the same samples under every solver and formulation") { same_samples<Fixture>(); }
  SECTION("exact-trace likelihood") { exact_likelihood<Fixture>(); }
  SECTION("the same likelihoods and posterior samples") { same_input_gradients<Fixture>(); }
  SECTION("perturb and convert_prediction undo each other") { same_conversions<Fixture>(); }
  SECTION("fused windows are the whole image") { fused_windows<Fixture>(); }
  SECTION("a window is that part of the whole image") { windows_of_samples<Fixture>(); }
  SECTION("primitives refuse what does not fit") { Bad::refused_by_primitives(); }
  SECTION("tensors without elements") { Bad::empty_tensors(); }
  SECTION("batches without samples") { Bad::empty_batches(); }
  SECTION("networks with outputs of the wrong shape") { Bad::misshaped_outputs(); }
  SECTION("images of more than 2^31 pixels") { Bad::many_pixels(); }
}

}  // namespace patchdiff::conformance

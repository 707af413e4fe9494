// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>

#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// Base of every exception that the library throws.
///
/// The message has one form: `component: argument: expected X, got Y`.
class Error : public std::runtime_error {
 public:
  Error(std::string_view component, std::string_view argument, std::string_view expected, std::string_view got)
      : std::runtime_error(str(component, ": ", argument, ": expected ", expected, ", got ", got)),
        component_(component),
        argument_(argument) {}

  /// The component that refused, for example `EDMLoss`.
  const std::string& component() const noexcept { return component_; }

  /// The argument, setting or file at fault, for example `sigma`.
  const std::string& argument() const noexcept { return argument_; }

 private:
  std::string component_;
  std::string argument_;
};

/// Settings that cannot work; thrown by constructors.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// A tensor or list of the wrong rank, size, scalar type or device; thrown before any work.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// Values or file contents that are wrong: labels out of range, a truncated file, NaN in an image.
class DataError : public Error {
 public:
  using Error::Error;
};

/// A file of another version of its format, which is not damaged: another patchdiff reads it.
class VersionError : public DataError {
 public:
  using DataError::DataError;
};

/// The operating system refused to open, read, write or rename a file.
class FileError : public Error {
 public:
  using Error::Error;
};

/// A loss, gradient or sample that stopped being finite.
class NumericError : public Error {
 public:
  using Error::Error;
};

/// Another process of the run is lost, stalled or failed; what all of them were to do was not done.
class ProcessError : public Error {
 public:
  using Error::Error;
};

/// Throws `E`. What the library refuses goes through here, so that a check costs the code around it one call; only an
/// error that a component has made beforehand, such as `StepReport::not_finite`, is thrown by itself.
template <std::derived_from<Error> E>
[[noreturn]] void refuse(std::string_view component, std::string_view argument, std::string_view expected,
                         std::string_view got) {
  throw E(component, argument, expected, got);
}

/// Throws `E` unless `holds`; `got` is what `str` takes. For checks whose expectation is text at hand: arguments are
/// evaluated where it holds too.
template <std::derived_from<Error> E, class Got>
void require(bool holds, std::string_view component, std::string_view argument, std::string_view expected,
             const Got& got) {
  if (!holds) refuse<E>(component, argument, expected, str(got));
}

}  // namespace patchdiff

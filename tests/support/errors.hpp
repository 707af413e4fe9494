// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "support/catch.hpp"

/// Checks that an expression throws this type of error with exactly this text.
#define CHECK_ERROR(Type, text, ...) CHECK_THROWS_MATCHES((__VA_ARGS__), Type, Catch::Matchers::Message(text))

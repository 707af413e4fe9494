// SPDX-License-Identifier: Apache-2.0
// Stands for the sources of the compile-fail tests without LibTorch, which are compiled with its flags.

# SPDX-License-Identifier: Apache-2.0
import os

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load

required_conan_version = ">=2.4"


class PatchdiffRecipe(ConanFile):
    name = "patchdiff"
    description = "Patch diffusion for C++20: train image models on random patches, sample whole images"
    license = "Apache-2.0"
    topics = ("diffusion", "generative-model", "pytorch", "eigen", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {
        "with_torch": [True, False],  # requires what patchdiff::torch needs
        "with_eigen": [True, False],  # requires what patchdiff::eigen needs
        "with_io": [True, False],  # requires what patchdiff::io needs
        "cli": [True, False],  # builds the program patchdiff, which needs all three
    }
    default_options = {"with_torch": False, "with_eigen": False, "with_io": False, "cli": False}
    no_copy_source = True

    @property
    def _root(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        for line in load(self, os.path.join(self._root, "CMakeLists.txt")).splitlines():
            words = line.split()
            if words[:1] == ["VERSION"]:
                self.version = words[1]
                return

    def export_sources(self):
        for pattern in ("CMakeLists.txt", "LICENSE", "cmake/*", "include/*", "examples/*"):
            copy(self, pattern, self._root, self.export_sources_folder, excludes="examples/host_project/*")

    def _needs(self, component):
        return bool(self.options.cli) or bool(getattr(self.options, f"with_{component}"))

    def requirements(self):
        if self._needs("torch"):
            self.requires("libtorch/[>=1.13 <3]")
        if self._needs("eigen"):
            # ConanCenter's LibTorch asks for Eigen 3.
            self.requires("eigen/[>=3.4 <4]" if self._needs("torch") else "eigen/[>=3.4 <6]")
        if self._needs("io"):
            self.requires("libjpeg-turbo/[>=2.1 <4]")
            self.requires("libpng/[>=1.6 <2]")
            self.requires("nlohmann_json/[>=3.11 <4]")
            self.requires("zlib/[>=1.2 <2]")
        if self.options.cli:
            self.requires("cli11/[>=2.1 <3]", visible=False)
            self.requires("fmt/[>=9 <11]", visible=False)  # ConanCenter's LibTorch asks for fmt 10
            self.requires("tomlplusplus/[>=3.3 <4]", visible=False)

    def validate(self):
        check_min_cppstd(self, 20)

    def layout(self):
        cmake_layout(self)

    def package_id(self):
        # Without the program, the contents are the same whatever the options, compiler and system.
        if not self.info.options.cli:
            self.info.clear()

    def generate(self):
        CMakeDeps(self).generate()
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["PATCHDIFF_BUILD_TESTING"] = False
        toolchain.cache_variables["PATCHDIFF_BUILD_BENCHMARKS"] = False
        toolchain.cache_variables["PATCHDIFF_BUILD_EXAMPLES"] = bool(self.options.cli)
        toolchain.cache_variables["PATCHDIFF_WARNINGS_AS_ERRORS"] = False  # of compilers that were not tried
        toolchain.cache_variables["PATCHDIFF_WITH_TORCH"] = "ON" if self.options.cli else "OFF"
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        if self.options.cli:
            cmake.build(target="cli")

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        CMake(self).install()

    def package_info(self):
        # The package's own CMake files know the components and say what a component lacks.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("share", "cmake", "patchdiff")]
        self.cpp_info.bindirs = ["bin"] if self.options.cli else []
        self.cpp_info.libdirs = []
        if self.options.cli:  # Conan puts the programs of a library of headers on nobody's path.
            self.runenv_info.prepend_path("PATH", os.path.join(self.package_folder, "bin"))

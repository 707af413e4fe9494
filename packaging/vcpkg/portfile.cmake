set(VCPKG_BUILD_TYPE release) # header-only

vcpkg_from_github(
    OUT_SOURCE_PATH SOURCE_PATH
    REPO patchdiff/patchdiff
    REF "v${VERSION}"
    SHA512 0
    HEAD_REF main
)

vcpkg_check_features(
    OUT_FEATURE_OPTIONS FEATURE_OPTIONS
    FEATURES
        cli PATCHDIFF_BUILD_EXAMPLES
        cli PATCHDIFF_WITH_TORCH
    INVERTED_FEATURES
        mpi CMAKE_DISABLE_FIND_PACKAGE_MPI
)

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS
        ${FEATURE_OPTIONS}
        -DCMAKE_SKIP_INSTALL_ALL_DEPENDENCY=ON # of the examples, the program alone is built
        -DPATCHDIFF_BUILD_BENCHMARKS=OFF
        -DPATCHDIFF_BUILD_TESTING=OFF
        -DPATCHDIFF_USE_CCACHE=OFF
        -DPATCHDIFF_WARNINGS_AS_ERRORS=OFF
    MAYBE_UNUSED_VARIABLES
        CMAKE_DISABLE_FIND_PACKAGE_MPI
        PATCHDIFF_USE_CCACHE
)
if("cli" IN_LIST FEATURES)
    vcpkg_cmake_build(TARGET cli)
endif()
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/patchdiff)
vcpkg_fixup_pkgconfig()
if("cli" IN_LIST FEATURES)
    vcpkg_copy_tools(TOOL_NAMES patchdiff AUTO_CLEAN)
endif()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/licenses")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")

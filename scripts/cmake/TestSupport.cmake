# twinspan_test_support: packets, frames and small worlds for unit tests, fuzz targets and benchmarks. It is built from
# tests/support/**/*.cpp over dataplane, and knows nothing of control.
file(GLOB_RECURSE support_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.cpp)
if(support_sources)
    add_library(twinspan_test_support STATIC EXCLUDE_FROM_ALL ${support_sources})
    target_link_libraries(twinspan_test_support PUBLIC twinspan_dataplane)
else()
    add_library(twinspan_test_support INTERFACE)
    target_link_libraries(twinspan_test_support INTERFACE twinspan_dataplane)
endif()

# The one source that knows the tree's absolute path: the others' objects serve every clone from one compiler cache.
set_source_files_properties(${PROJECT_SOURCE_DIR}/tests/support/source_path.cpp PROPERTIES
                            COMPILE_DEFINITIONS TWINSPAN_SOURCE_DIR="${PROJECT_SOURCE_DIR}")

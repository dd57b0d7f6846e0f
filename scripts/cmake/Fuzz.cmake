# One libFuzzer program per tests/fuzz/<name>_fuzz.cpp.
file(GLOB fuzz_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/fuzz/*_fuzz.cpp)
foreach(source IN LISTS fuzz_sources)
    cmake_path(GET source STEM target)
    add_executable(${target} ${source})
    target_link_libraries(${target} PRIVATE twinspan_control twinspan_test_support)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
endforeach()

# twinspan_bench, from all sources below bench/.
file(GLOB_RECURSE bench_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*.cpp)
if(bench_sources)
    add_executable(twinspan_bench ${bench_sources})
    target_link_libraries(twinspan_bench PRIVATE twinspan_control CLI11::CLI11 nlohmann_json::nlohmann_json)
endif()

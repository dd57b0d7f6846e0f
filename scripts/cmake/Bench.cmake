# twinspan_bench, from all sources below bench/ but the peers'; and what feeds a peer, loaded into it.
file(GLOB_RECURSE bench_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*.cpp)
list(FILTER bench_sources EXCLUDE REGEX /peers/)
add_executable(twinspan_bench ${bench_sources})
target_link_libraries(twinspan_bench PRIVATE twinspan_control CLI11::CLI11 nlohmann_json::nlohmann_json)

add_library(peer_feed MODULE EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/bench/peers/feed.cpp)
target_link_libraries(peer_feed PRIVATE twinspan::dpdk ${CMAKE_DL_LIBS})
target_compile_options(peer_feed PRIVATE -fvisibility=hidden)
set_target_properties(peer_feed PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)

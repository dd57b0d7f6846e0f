# One gtest program per suite folder, and the tests that ctest runs in this tree.
#   tests/unit/<layer>/**_test.cpp -> <layer>_test          tests/eal/**_test.cpp -> eal_test (needs DPDK's EAL)
find_package(GTest REQUIRED)
include(GoogleTest)

set(test_programs)
foreach(suite IN ITEMS unit/crypto unit/dataplane unit/control eal)
    # What a suite shares lies beside its tests.
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${suite}/*.cpp)
    string(REGEX REPLACE "^unit/" "" name ${suite})
    add_executable(${name}_test ${sources})
    # A layer's tests link no more than that layer, so they build and run without the ones above.
    if(suite STREQUAL "unit/crypto")
        target_link_libraries(${name}_test PRIVATE twinspan_crypto)
    elseif(suite MATCHES "^(unit/dataplane|eal)$")
        target_link_libraries(${name}_test PRIVATE twinspan_test_support)
    else()
        target_link_libraries(${name}_test PRIVATE twinspan_test_support twinspan_control)
    endif()
    target_link_libraries(${name}_test PRIVATE GTest::gmock GTest::gtest_main)
    if(suite STREQUAL "unit/control")
        twinspan_precompile(${name}_test <gtest/gtest.h> <rte_mbuf.h> <rte_rcu_qsbr.h> <nlohmann/json.hpp>)
    elseif(NOT suite STREQUAL "unit/crypto")
        twinspan_precompile(${name}_test <gtest/gtest.h> <rte_mbuf.h> <rte_rcu_qsbr.h>)
    endif()
    gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST
                         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
                         PROPERTIES LABELS unit TIMEOUT 120)
    list(APPEND test_programs ${name}_test)
endforeach()

add_custom_target(test_programs DEPENDS ${test_programs})

# A process that seals, and what kills it 10,000 times.
add_executable(sealer ${PROJECT_SOURCE_DIR}/tests/kill/sealer_main.cpp)
target_link_libraries(sealer PRIVATE twinspan_crypto)
add_executable(kill_test ${PROJECT_SOURCE_DIR}/tests/kill/kill_test.cpp)
target_link_libraries(kill_test PRIVATE twinspan_crypto GTest::gtest_main)
target_compile_definitions(kill_test PRIVATE TWINSPAN_SEALER="$<TARGET_FILE:sealer>")
add_dependencies(kill_test sealer)
gtest_discover_tests(kill_test TEST_PREFIX kill. DISCOVERY_MODE PRE_TEST PROPERTIES LABELS kill TIMEOUT 600)
add_dependencies(test_programs kill_test)

# The packet path that tests/model compares with a model of it.
add_executable(nat_replay ${PROJECT_SOURCE_DIR}/tests/model/nat_replay.cpp)
target_link_libraries(nat_replay PRIVATE twinspan_test_support CLI11::CLI11)

# What the lab measures failover with.
add_executable(udp_stream ${PROJECT_SOURCE_DIR}/tests/lab/udp_stream.cpp)
target_link_libraries(udp_stream PRIVATE CLI11::CLI11 nlohmann_json::nlohmann_json)

if(TWINSPAN_FULL_SUITE)
    include(FullSuite)
endif()

# What scripts/test adds to the unit tests of the release tree, so that one ctest run and one summary cover everything:
# the test programs of the sanitizer trees, the fuzz targets, the static checks and the Python suites.
set(PYTHON /usr/bin/python3)  # Debian's, which has scapy
cmake_path(GET PROJECT_BINARY_DIR PARENT_PATH trees)

function(twinspan_check name command)
    cmake_parse_arguments(arg "" "LABEL;TIMEOUT;PROCESSORS;COST" "ARGS;ENVIRONMENT" ${ARGN})
    add_test(NAME ${name} COMMAND ${command} ${arg_ARGS} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT})
    foreach(property IN ITEMS PROCESSORS COST ENVIRONMENT)
        if(arg_${property})
            set_tests_properties(${name} PROPERTIES ${property} "${arg_${property}}")
        endif()
    endforeach()
endfunction()

set(scripts ${PROJECT_SOURCE_DIR}/scripts)
twinspan_check(static.layers ${scripts}/check-layers LABEL static TIMEOUT 60)
twinspan_check(static.format ${scripts}/check-format LABEL static TIMEOUT 60)
twinspan_check(static.headers ${CMAKE_COMMAND} ARGS --build ${PROJECT_BINARY_DIR} --target check_headers
               LABEL static TIMEOUT 600)
twinspan_check(static.tidy ${scripts}/check-tidy ARGS --build ${PROJECT_BINARY_DIR}
               LABEL static TIMEOUT 1800 PROCESSORS 2 COST 1000)

foreach(program IN LISTS test_programs)
    string(REGEX REPLACE "_test$" "" suite ${program})
    twinspan_check(asan.${suite} ${trees}/asan/bin/${program} ARGS --gtest_brief=1 LABEL asan TIMEOUT 600 COST 200
                   ENVIRONMENT UBSAN_OPTIONS=print_stacktrace=1)
    twinspan_check(tsan.${suite} ${trees}/tsan/bin/${program} ARGS --gtest_brief=1 LABEL tsan TIMEOUT 600 COST 200
                   ENVIRONMENT TSAN_OPTIONS=halt_on_error=1)
endforeach()

# The corpus in the tree (tests/fuzz/corpus/<name>_fuzz) is read; what a run finds is kept in the build tree, and a crash leaves its input there.
file(GLOB fuzz_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/fuzz/*_fuzz.cpp)
foreach(source IN LISTS fuzz_sources)
    cmake_path(GET source STEM program)
    string(REGEX REPLACE "_fuzz$" "" target ${program})
    set(found ${trees}/fuzz/corpus/${program})
    set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${program})
    file(MAKE_DIRECTORY ${found} ${trees}/fuzz/crashes)
    if(NOT IS_DIRECTORY ${corpus})
        set(corpus)
    endif()
    math(EXPR limit "${TWINSPAN_FUZZ_SECONDS} + 120")
    twinspan_check(fuzz.${target} ${trees}/fuzz/bin/${program}
                   ARGS -max_total_time=${TWINSPAN_FUZZ_SECONDS} -timeout=10 -verbosity=0 -print_final_stats=1
                        -artifact_prefix=${trees}/fuzz/crashes/${target}- ${found} ${corpus}
                   LABEL fuzz TIMEOUT ${limit} COST 900)
endforeach()

# Every folder of tests/ with test_*.py is one suite. They own namespaces, netdevs and the clock, so they run alone.
file(GLOB python_tests CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/tests/*/test_*.py)
set(python_suites)
foreach(test IN LISTS python_tests)
    cmake_path(GET test PARENT_PATH suite)
    list(APPEND python_suites ${suite})
endforeach()
list(REMOVE_DUPLICATES python_suites)
foreach(suite IN LISTS python_suites)
    twinspan_check(${suite} ${PYTHON} ARGS -m pytest -q -p no:cacheprovider tests/${suite} LABEL ${suite} TIMEOUT 900
                   ENVIRONMENT "TWINSPAN_BUILD=${PROJECT_BINARY_DIR};PYTHONPATH=${PROJECT_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1")
    set_tests_properties(${suite} PROPERTIES RUN_SERIAL ON)
endforeach()

# The VM under emulation wants both CPUs. It is skipped, and says so, only where QEMU or debootstrap cannot be installed. On a machine's first run
# it makes the VM's file system and compiles everything for Debian 13, hence the limit; a warm one takes some 5 minutes.
twinspan_check(system ${scripts}/system-test ARGS --build-dir ${trees}/system LABEL system TIMEOUT 2400)
set_tests_properties(system PROPERTIES RUN_SERIAL ON SKIP_RETURN_CODE 77)

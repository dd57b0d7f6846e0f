# Language, target machine, warnings and sanitizers: the same for every target of this tree.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

# Any x86-64 machine since 2009; what needs more (AVX2, AVX-512) is chosen at run time.
add_compile_options(-march=x86-64-v2)
add_compile_options(-Wall -Wextra -Wconversion -Wshadow -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 warns falsely about inlined library code, such as inserting into a vector; GCC 14 keeps these on for us.
    add_compile_options(-Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds -Wno-restrict
                        -Wno-free-nonheap-object)
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    add_compile_options(-Wno-deprecated-declarations)  # libstdc++ 12 uses its own deprecated functions
endif()

if(TWINSPAN_SANITIZE)
    add_compile_options(-fsanitize=${TWINSPAN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${TWINSPAN_SANITIZE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # Not reliable over instrumented code, as GCC's manual says of -fsanitize.
        add_compile_options(-Wno-maybe-uninitialized)
    endif()
    if(TWINSPAN_SANITIZE MATCHES "thread")
        # DPDK's rings in the form with C11 atomics, which ThreadSanitizer understands, instead of x86 barriers.
        add_compile_definitions(RTE_USE_C11_MEM_MODEL)
    endif()
    if(TWINSPAN_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # ThreadSanitizer does not model fences. DPDK's are paired with atomics that it does see.
        add_compile_options(-Wno-tsan)
    endif()
endif()
if(TWINSPAN_FUZZ)
    if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
        message(FATAL_ERROR "The fuzz targets need clang: configure with the preset fuzz")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(TWINSPAN_CCACHE ccache)
if(TWINSPAN_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_C_COMPILER_LAUNCHER ${TWINSPAN_CCACHE})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${TWINSPAN_CCACHE})
endif()

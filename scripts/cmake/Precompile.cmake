# twinspan_precompile(<target> <header>...): these, and the standard headers that most files include, are parsed once for
# the target, since nine tenths of a compilation are such headers. Off in the release and fuzz trees, which so find out
# that a file includes what it uses.
option(TWINSPAN_PRECOMPILE "Precompile the headers of others" OFF)

if(TWINSPAN_PRECOMPILE AND TWINSPAN_CCACHE)
    # What ccache and GCC want before they cache what is compiled with such headers.
    set(sloppiness "pch_defines,time_macros,include_file_mtime,include_file_ctime")
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=${sloppiness} ${TWINSPAN_CCACHE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        add_compile_options(-fpch-preprocess)
    endif()
endif()

function(twinspan_precompile target)
    if(TWINSPAN_PRECOMPILE)
        target_precompile_headers(${target} PRIVATE <rte_config.h>
            <algorithm> <array> <atomic> <chrono> <expected> <filesystem> <functional> <map> <memory> <optional> <set>
            <span> <string> <string_view> <unordered_map> <utility> <vector> ${ARGN})
        set_target_properties(${target} PROPERTIES TWINSPAN_PRECOMPILED ON)
    endif()
endfunction()

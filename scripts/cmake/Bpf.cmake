# twinspan_bpf(<folder> [TARGET name] [OUTPUT_DIRECTORY dir]): compiles each *.bpf.c below the folder with clang to
# build/<preset>/<dir>/<name>.bpf.o; the target is part of ALL. Without sources there is no target.
find_program(TWINSPAN_BPF_CLANG NAMES clang-19 clang)

function(twinspan_bpf folder)
    cmake_parse_arguments(arg "" "TARGET;OUTPUT_DIRECTORY" "" ${ARGN})
    string(REPLACE "/" "_" default_target ${folder}_bpf)
    set(target ${arg_TARGET})
    if(NOT target)
        set(target ${default_target})
    endif()
    set(directory ${arg_OUTPUT_DIRECTORY})
    if(NOT directory)
        set(directory bpf)
    endif()

    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.bpf.c)
    if(NOT sources)
        return()
    endif()
    if(NOT TWINSPAN_BPF_CLANG)
        message(WARNING "No clang: the BPF programs of ${folder} are not built (scripts/setup installs it)")
        return()
    endif()

    set(objects)
    foreach(source IN LISTS sources)
        cmake_path(GET source STEM LAST_ONLY stem)
        set(object ${PROJECT_BINARY_DIR}/${directory}/${stem}.o)
        add_custom_command(
            OUTPUT ${object}
            COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/${directory}
            COMMAND ${TWINSPAN_BPF_CLANG} -target bpf -O2 -g -Wall -Wextra -Werror -MD -MF ${object}.d
                    -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -I ${PROJECT_SOURCE_DIR}
                    -c ${source} -o ${object}
            DEPENDS ${source}
            DEPFILE ${object}.d
            COMMENT "Compiling BPF program ${stem}"
            VERBATIM)
        list(APPEND objects ${object})
    endforeach()
    add_custom_target(${target} ALL DEPENDS ${objects})
endfunction()

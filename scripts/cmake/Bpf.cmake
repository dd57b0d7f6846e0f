# twinspan_bpf(<folder> [TARGET name] [OUTPUT_DIRECTORY dir]): compiles each *.bpf.c below the folder with clang to
# build/<preset>/<dir>/<name>.bpf.o; the target is part of ALL. Without sources there is no target.
# With EMBED_IN <layer>, bpftool turns each object into the header <name>.skel.h, which that layer can include: the program
# is then part of the binary.
find_program(TWINSPAN_BPF_CLANG NAMES clang-19 clang)
find_program(TWINSPAN_BPFTOOL NAMES bpftool PATHS /usr/sbin)

function(twinspan_bpf folder)
    cmake_parse_arguments(arg "" "TARGET;OUTPUT_DIRECTORY;EMBED_IN" "" ${ARGN})
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
    if(arg_EMBED_IN AND NOT (TWINSPAN_BPF_CLANG AND TWINSPAN_BPFTOOL))
        message(FATAL_ERROR "clang and bpftool are needed for the BPF programs of ${folder} (scripts/setup installs them)")
    elseif(NOT TWINSPAN_BPF_CLANG)
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
        if(arg_EMBED_IN)
            cmake_path(GET source STEM name)
            set(skeleton ${PROJECT_BINARY_DIR}/${directory}/${name}.skel.h)
            add_custom_command(
                OUTPUT ${skeleton}
                COMMAND sh -c "\"$1\" gen skeleton \"$2\" name \"$3\" > \"$4\"" sh
                        ${TWINSPAN_BPFTOOL} ${object} ${name} ${skeleton}
                DEPENDS ${object}
                COMMENT "Embedding BPF program ${name}"
                VERBATIM)
            list(APPEND objects ${skeleton})
        endif()
    endforeach()
    add_custom_target(${target} ALL DEPENDS ${objects})
    if(arg_EMBED_IN)
        add_dependencies(twinspan_${arg_EMBED_IN} ${target})
        target_include_directories(twinspan_${arg_EMBED_IN} SYSTEM PRIVATE ${PROJECT_BINARY_DIR}/${directory})
    endif()
endfunction()

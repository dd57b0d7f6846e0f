# twinspan_layer(<folder> [EXCLUDE regex] DEPENDS targets...): a static library twinspan_<folder> of all sources below the
# folder. The target all_verify_interface_header_sets (alias check_headers) compiles each header alone.
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ON)
add_custom_target(check_headers)

function(twinspan_layer folder)
    cmake_parse_arguments(arg "" "EXCLUDE" "DEPENDS" ${ARGN})
    set(target twinspan_${folder})
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.cpp)
    file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.hpp)
    if(arg_EXCLUDE)
        list(FILTER sources EXCLUDE REGEX "${arg_EXCLUDE}")
    endif()

    if(sources)
        add_library(${target} STATIC ${sources})
        set(scope PUBLIC)
    else()
        add_library(${target} INTERFACE)
        set(scope INTERFACE)
    endif()
    target_include_directories(${target} ${scope} ${PROJECT_SOURCE_DIR})
    target_link_libraries(${target} ${scope} ${arg_DEPENDS})
    target_compile_definitions(${target} ${scope} TWINSPAN_VERSION="${PROJECT_VERSION}")
    if(headers)
        target_sources(${target} ${scope} FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${headers})
        cmake_language(EVAL CODE "cmake_language(DEFER DIRECTORY ${PROJECT_SOURCE_DIR}
                       CALL add_dependencies check_headers ${target}_verify_interface_header_sets)")
    endif()
endfunction()

# twinspan_program(<name> <main.cpp>): skipped while its main does not exist.
function(twinspan_program name main)
    if(EXISTS ${PROJECT_SOURCE_DIR}/${main})
        add_executable(${name} ${main})
        target_link_libraries(${name} PRIVATE twinspan_control)
        install(TARGETS ${name})
    endif()
endfunction()

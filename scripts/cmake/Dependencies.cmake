# Libraries from distribution packages (scripts/setup installs them), as targets.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(IPSecMB 2.0 REQUIRED)
pkg_check_modules(BPF REQUIRED IMPORTED_TARGET libbpf)
pkg_check_modules(MNL REQUIRED IMPORTED_TARGET libmnl)
pkg_check_modules(DPDK REQUIRED libdpdk>=22.11)

# DPDK's headers are not ours to warn about, and its -march is Debian's choice for Debian's build. Its forced include
# of rte_config.h stays, for the headers are wrong without it, but where it is the first of the precompiled headers: GCC
# takes those only when no other include comes before.
list(REMOVE_ITEM DPDK_INCLUDE_DIRS /usr/include)
list(FILTER DPDK_CFLAGS_OTHER EXCLUDE REGEX "^-m(arch|tune|cpu)=")
list(JOIN DPDK_CFLAGS_OTHER " " dpdk_flags)
separate_arguments(dpdk_flags UNIX_COMMAND "${dpdk_flags}")
string(REPLACE "-include;rte_config.h"
       "$<$<NOT:$<BOOL:$<TARGET_PROPERTY:TWINSPAN_PRECOMPILED>>>:SHELL:-include rte_config.h>" dpdk_flags "${dpdk_flags}")

add_library(twinspan_dpdk INTERFACE)
add_library(twinspan::dpdk ALIAS twinspan_dpdk)
target_include_directories(twinspan_dpdk SYSTEM INTERFACE ${DPDK_INCLUDE_DIRS})
target_compile_options(twinspan_dpdk INTERFACE ${dpdk_flags})
target_link_libraries(twinspan_dpdk INTERFACE ${DPDK_LDFLAGS})

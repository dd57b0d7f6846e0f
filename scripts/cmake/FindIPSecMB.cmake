# Intel IPsec-MB as twinspan::ipsec_mb. Debian 12 ships 1.3, so the copy that scripts/setup unpacks comes first.
set(TWINSPAN_IPSEC_MB_ROOT /opt/twinspan/ipsec-mb CACHE PATH "Where scripts/setup put IPsec-MB")
find_path(IPSecMB_INCLUDE_DIR intel-ipsec-mb.h HINTS ${TWINSPAN_IPSEC_MB_ROOT}/include)
find_library(IPSecMB_LIBRARY IPSec_MB HINTS ${TWINSPAN_IPSEC_MB_ROOT}/lib/${CMAKE_LIBRARY_ARCHITECTURE})
mark_as_advanced(IPSecMB_INCLUDE_DIR IPSecMB_LIBRARY)

if(IPSecMB_INCLUDE_DIR)
    file(STRINGS ${IPSecMB_INCLUDE_DIR}/intel-ipsec-mb.h version_line REGEX "define IMB_VERSION_STR ")
    string(REGEX MATCH "[0-9]+\\.[0-9]+(\\.[0-9]+)?" IPSecMB_VERSION "${version_line}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(IPSecMB REQUIRED_VARS IPSecMB_LIBRARY IPSecMB_INCLUDE_DIR
                                  VERSION_VAR IPSecMB_VERSION REASON_FAILURE_MESSAGE "run scripts/setup")

if(IPSecMB_FOUND AND NOT TARGET twinspan::ipsec_mb)
    add_library(twinspan::ipsec_mb SHARED IMPORTED)
    set_target_properties(twinspan::ipsec_mb PROPERTIES
        IMPORTED_LOCATION ${IPSecMB_LIBRARY}
        INTERFACE_INCLUDE_DIRECTORIES ${IPSecMB_INCLUDE_DIR})
endif()

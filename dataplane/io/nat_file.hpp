// Reads and writes files of NAT sessions (state/nat_saved.hpp), wherever they lie.
#pragma once

#include "dataplane/base/descriptor.hpp"
#include "dataplane/base/error.hpp"
#include "dataplane/state/nat_saved.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>

namespace twinspan {

inline void* records_of(NatSavedHeader* header) noexcept { return header + 1; }

// To read and write; made, if need be, for its owner alone. What is not ours alone there is removed before.
Result<Descriptor> open_nat_file(const std::filesystem::path& file);

// Nothing: there is no such file. An error names the file: it is somebody else's, or anybody may write to it, or its
// contents are wrong.
Result<std::optional<NatSaved>> read_nat_file(const std::filesystem::path& file);

// `file` appears whole or not at all, readable for its owner alone.
Result<void> write_nat_file(const std::filesystem::path& file, const NatSaved& saved);

// Copies the live sessions of a daemon, which may go on, from where it keeps them to a file on disk. Returns how many.
Result<std::uint64_t> save_nat_sessions(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace twinspan

// Secret bytes: kept out of swap and core dumps, wiped when let go, and impossible to copy or print.
#pragma once

#include "crypto/secret_arena.hpp"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>

namespace twinspan {

// Move-only bytes. Alignment is a cache line, which is what a key schedule needs.
class SecretBytes {
public:
    static constexpr std::size_t kAlignment = SecretArena::kLine;

    SecretBytes() noexcept = default;
    // Zeroed bytes. Throws std::bad_alloc.
    explicit SecretBytes(std::size_t size, std::pmr::memory_resource& memory = secret_memory());
    // Copies `source`, which stays the caller's to wipe.
    static SecretBytes copy_of(std::span<const std::uint8_t> source,
                               std::pmr::memory_resource& memory = secret_memory());
    // Parses hex digits, with or without a leading 0x. The message never quotes the text.
    static std::expected<SecretBytes, std::string> from_hex(std::string_view text);

    ~SecretBytes() { wipe_and_release(); }
    SecretBytes(SecretBytes&& other) noexcept;
    SecretBytes& operator=(SecretBytes&& other) noexcept;
    SecretBytes(const SecretBytes&) = delete;
    SecretBytes& operator=(const SecretBytes&) = delete;

    std::uint8_t* data() noexcept { return data_; }
    const std::uint8_t* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    std::span<const std::uint8_t> span() const noexcept { return {data_, size_}; }

private:
    void wipe_and_release() noexcept;
    std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
    std::pmr::memory_resource* memory_ = nullptr;
};

// Compares without a data-dependent branch; unequal lengths are unequal.
bool equal_in_constant_time(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) noexcept;

}  // namespace twinspan

#include "crypto/key.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace twinspan {
namespace {

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

}  // namespace

SecretBytes::SecretBytes(std::size_t size, std::pmr::memory_resource& memory) : size_(size), memory_(&memory) {
    if (size != 0) {
        data_ = static_cast<std::uint8_t*>(memory.allocate(size, kAlignment));
        std::memset(data_, 0, size);
    }
}

SecretBytes SecretBytes::copy_of(std::span<const std::uint8_t> source, std::pmr::memory_resource& memory) {
    SecretBytes secret{source.size(), memory};
    std::ranges::copy(source, secret.data());
    return secret;
}

std::expected<SecretBytes, std::string> SecretBytes::from_hex(std::string_view text) {
    if (text.starts_with("0x") || text.starts_with("0X")) {
        text.remove_prefix(2);
    }
    if (text.size() % 2 != 0) {
        return std::unexpected("odd number of hex digits: " + std::to_string(text.size()));
    }
    SecretBytes secret{text.size() / 2};
    for (std::size_t i = 0; i < secret.size(); ++i) {
        const int high = hex_digit(text[2 * i]);
        const int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return std::unexpected("not a hex digit at or after position " + std::to_string(2 * i));
        }
        secret.data()[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return secret;
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), memory_(other.memory_) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
        wipe_and_release();
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
        memory_ = other.memory_;
    }
    return *this;
}

void SecretBytes::wipe_and_release() noexcept {
    if (data_ != nullptr) {
        explicit_bzero(data_, size_);
        memory_->deallocate(data_, size_, kAlignment);
        data_ = nullptr;
        size_ = 0;
    }
}

bool equal_in_constant_time(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) noexcept {
    if (a.size() != b.size()) {
        return false;
    }
    std::uint8_t difference = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        difference = static_cast<std::uint8_t>(difference | (a[i] ^ b[i]));
    }
    return difference == 0;
}

}  // namespace twinspan

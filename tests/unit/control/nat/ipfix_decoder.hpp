// A second reading of RFC 7011, for tests: from bytes to values by element, knowing nothing of who wrote them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace twinspan::test {

using IpfixRecord = std::map<std::uint16_t, std::uint64_t>;

struct IpfixMessage {
    std::uint16_t version = 0, length = 0;
    std::uint32_t export_seconds = 0, sequence = 0, domain = 0;
    std::size_t templates = 0;
    std::vector<IpfixRecord> records;
};

class IpfixDecoder {
public:
    // Throws std::runtime_error for what a collector would not take. Templates are kept.
    IpfixMessage decode(std::span<const std::uint8_t> bytes) {
        IpfixMessage message;
        message.version = static_cast<std::uint16_t>(number(bytes, 0, 2));
        message.length = static_cast<std::uint16_t>(number(bytes, 2, 2));
        message.export_seconds = static_cast<std::uint32_t>(number(bytes, 4, 4));
        message.sequence = static_cast<std::uint32_t>(number(bytes, 8, 4));
        message.domain = static_cast<std::uint32_t>(number(bytes, 12, 4));
        check(message.version == 10 && message.length == bytes.size(), "header");
        for (std::size_t at = 16; at != bytes.size();) {
            const auto id = static_cast<std::uint16_t>(number(bytes, at, 2));
            const std::size_t length = number(bytes, at + 2, 2);
            check(length >= 4 && at + length <= bytes.size(), "set length");
            const auto set = bytes.subspan(at + 4, length - 4);
            if (id == 2) {
                read_templates(set, message);
            } else {
                read_records(id, set, message);
            }
            at += length;
        }
        return message;
    }

private:
    static void check(bool good, const char* what) {
        if (!good) {
            throw std::runtime_error(what);
        }
    }
    static std::uint64_t number(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t size) {
        check(at + size <= bytes.size(), "short");
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < size; ++i) {
            value = value << 8 | bytes[at + i];
        }
        return value;
    }
    void read_templates(std::span<const std::uint8_t> set, IpfixMessage& message) {
        for (std::size_t at = 0; at < set.size();) {
            const auto id = static_cast<std::uint16_t>(number(set, at, 2));
            const std::size_t fields = number(set, at + 2, 2);
            check(id >= 256 && fields != 0, "template");
            at += 4;
            auto& form = templates_[id];
            form.clear();
            for (std::size_t i = 0; i < fields; ++i, at += 4) {
                check((number(set, at, 2) & 0x8000) == 0, "enterprise element");
                form.emplace_back(static_cast<std::uint16_t>(number(set, at, 2)), number(set, at + 2, 2));
            }
            ++message.templates;
        }
    }
    void read_records(std::uint16_t id, std::span<const std::uint8_t> set, IpfixMessage& message) {
        check(id >= 256 && templates_.contains(id), "data without a template");
        for (std::size_t at = 0; at < set.size();) {
            IpfixRecord record;
            for (const auto& [element, size] : templates_[id]) {
                record[element] = number(set, at, size);
                at += size;
            }
            message.records.push_back(std::move(record));
        }
    }

    std::map<std::uint16_t, std::vector<std::pair<std::uint16_t, std::size_t>>> templates_;
};

}  // namespace twinspan::test

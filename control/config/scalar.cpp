#include "control/config/scalar.hpp"

#include "control/config/prefix.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <vector>

namespace twinspan {

namespace {

struct Unit {
    std::string_view suffix;
    std::uint64_t factor;
};

// Digits followed by one of the units, nothing between them.
std::optional<std::uint64_t> parse_with_unit(std::string_view text, std::span<const Unit> units, std::uint64_t max) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto unit = std::ranges::find(units, text.substr(digits), &Unit::suffix);
    if (unit == units.end()) {
        return std::nullopt;
    }
    const auto number = parse_unsigned(text.substr(0, digits), 1, max / unit->factor);
    return number ? std::optional{*number * unit->factor} : std::nullopt;
}

bool is_name_character(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) {
        row[j] = j;
    }
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = std::exchange(row[j], std::min({replaced, row[j] + 1, row[j - 1] + 1}));
        }
    }
    return row[b.size()];
}

}  // namespace

std::optional<std::uint64_t> parse_unsigned(std::string_view text, std::uint64_t min, std::uint64_t max) {
    const bool hex = text.starts_with("0x") || text.starts_with("0X");
    const std::string_view digits = hex ? text.substr(2) : text;
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
    const bool whole = error == std::errc{} && end == digits.data() + digits.size();
    return whole && value >= min && value <= max ? std::optional{value} : std::nullopt;
}

std::optional<bool> parse_bool(std::string_view text) {
    return text == "true" ? std::optional{true} : text == "false" ? std::optional{false} : std::nullopt;
}

std::optional<std::uint64_t> parse_mib(std::string_view text) {
    static constexpr Unit kUnits[] = {{"MiB", 1}, {"GiB", 1024}};
    return parse_with_unit(text, kUnits, std::uint64_t{1} << 24);
}

std::optional<std::uint64_t> parse_bandwidth(std::string_view text) {
    static constexpr Unit kUnits[] = {{"kbps", 1'000}, {"Mbps", 1'000'000}, {"Gbps", 1'000'000'000}};
    return parse_with_unit(text, kUnits, 10'000'000'000'000);
}

std::optional<std::uint32_t> parse_seconds(std::string_view text) {
    static constexpr Unit kUnits[] = {{"s", 1}, {"m", 60}, {"h", 3600}};
    const auto seconds = parse_with_unit(text, kUnits, 7 * 24 * 3600);
    return seconds ? std::optional{static_cast<std::uint32_t>(*seconds)} : std::nullopt;
}

std::optional<std::uint32_t> parse_milliseconds(std::string_view text) {
    static constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}};
    const auto milliseconds = parse_with_unit(text, kUnits, 60'000);
    return milliseconds ? std::optional{static_cast<std::uint32_t>(*milliseconds)} : std::nullopt;
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
    static constexpr Unit kUnits[] = {{"KB", 1ull << 10}, {"MB", 1ull << 20}, {"GB", 1ull << 30}, {"TB", 1ull << 40}};
    return parse_with_unit(text, kUnits, 1ull << 60);
}

std::optional<std::uint32_t> parse_rate(std::string_view text) {
    static constexpr Unit kUnits[] = {{"pps", 1}, {"kpps", 1'000}, {"Mpps", 1'000'000}};
    const auto rate = parse_with_unit(text, kUnits, 1'000'000'000);
    return rate ? std::optional{static_cast<std::uint32_t>(*rate)} : std::nullopt;
}

std::optional<std::uint8_t> parse_percent(std::string_view text) {
    if (!text.ends_with('%')) {
        return std::nullopt;
    }
    const auto percent = parse_unsigned(text.substr(0, text.size() - 1), 1, 100);
    return percent ? std::optional{static_cast<std::uint8_t>(*percent)} : std::nullopt;
}

std::optional<std::pair<std::uint16_t, std::uint16_t>> parse_ports(std::string_view text) {
    const std::size_t dash = text.find('-');
    if (dash == std::string_view::npos) {
        return std::nullopt;
    }
    const auto first = parse_unsigned(text.substr(0, dash), 1, 65535);
    const auto last = parse_unsigned(text.substr(dash + 1), 1, 65535);
    if (!first || !last || *first > *last) {
        return std::nullopt;
    }
    return std::pair{static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)};
}

std::optional<Ipv4Range> parse_range4(std::string_view text) {
    if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) {
        const auto first = parse_address4(text.substr(0, dash));
        const auto last = parse_address4(text.substr(dash + 1));
        return first && last && *first <= *last ? std::optional{Ipv4Range{*first, *last}} : std::nullopt;
    }
    const auto prefix = parse_prefix4(text);
    return prefix ? std::optional{Ipv4Range{prefix->address, prefix->last()}} : std::nullopt;
}

// RFC 2474 (CS), RFC 2597 (AF), RFC 3246 (EF), RFC 5865 (VA), RFC 8622 (LE).
std::optional<std::uint8_t> parse_dscp(std::string_view text) {
    std::string word{text};
    std::ranges::transform(word, word.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    static constexpr std::pair<std::string_view, std::uint8_t> kNames[] = {
        {"ef", 46}, {"va", 44}, {"le", 1}, {"be", 0}};
    const auto named = std::ranges::find(kNames, word, &std::pair<std::string_view, std::uint8_t>::first);
    if (named != std::end(kNames)) {
        return named->second;
    }
    const auto digit = [&](std::size_t at, char first, char last) {
        return word[at] >= first && word[at] <= last ? std::optional{static_cast<unsigned>(word[at] - '0')}
                                                     : std::nullopt;
    };
    std::optional<unsigned> value;
    if (word.size() == 3 && word.starts_with("cs")) {
        value = digit(2, '0', '7').transform([](unsigned c) { return 8 * c; });
    } else if (word.size() == 4 && word.starts_with("af")) {
        const auto precedence = digit(3, '1', '3');
        value = precedence ? digit(2, '1', '4').transform([&](unsigned c) { return 8 * c + 2 * *precedence; })
                           : std::nullopt;
    } else {
        value = parse_unsigned(word, 0, 63).transform([](std::uint64_t n) { return static_cast<unsigned>(n); });
    }
    return value ? std::optional{static_cast<std::uint8_t>(*value)} : std::nullopt;
}

std::optional<Link> parse_link(std::string_view text) {
    return text == "primary"     ? std::optional{Link::primary}
           : text == "secondary" ? std::optional{Link::secondary}
                                 : std::nullopt;
}

std::optional<std::string> parse_name(std::string_view text) {
    const bool good = !text.empty() && text.size() <= 32 &&
                      std::isalnum(static_cast<unsigned char>(text.front())) != 0 &&
                      std::ranges::all_of(text, is_name_character);
    return good ? std::optional{std::string{text}} : std::nullopt;
}

std::optional<std::string> parse_netdev_name(std::string_view text) {
    return text.size() <= 15 && text != "lo" ? parse_name(text) : std::nullopt;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
    constexpr std::size_t kLongestWord = 64;  // longer ones are no slips of the finger, and cost time
    if (word.size() > kLongestWord) {
        return {};
    }
    std::string_view best;
    std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
    for (const std::string_view candidate : candidates) {
        const std::size_t distance = edit_distance(word, candidate);
        if (distance < best_distance && distance < candidate.size()) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

}  // namespace twinspan

// Lines of a configuration file, indented by blocks.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace twinspan::render {

class Text {
public:
    explicit Text(std::size_t indent_width) : indent_width_(indent_width) {}

    template <class... Parts>
    void line(const Parts&... parts) {
        const std::size_t before = text_.size();
        text_.append(depth_ * indent_width_, ' ');
        (append(parts), ...);
        if (text_.find_first_not_of(' ', before) == std::string::npos) {
            text_.resize(before);
        }
        text_ += '\n';
    }
    void in() { ++depth_; }
    void out() { --depth_; }
    const std::string& str() const noexcept { return text_; }

private:
    void append(std::string_view part) { text_ += part; }
    void append(char part) { text_ += part; }
    template <class Number>
        requires (std::is_arithmetic_v<Number> && !std::is_same_v<Number, char>)
    void append(Number part) {
        text_ += std::to_string(part);
    }

    std::size_t indent_width_;
    std::size_t depth_ = 0;
    std::string text_;
};

}  // namespace twinspan::render

// twinspanctl: the operator's tool. Everything is in control/ctl.
#include "control/ctl/cli.hpp"

#include <exception>
#include <iostream>

int main(int argc, char** argv) {
    try {
        return twinspan::ctl::run({argv + 1, argv + argc}, {std::cout, std::cerr});
    } catch (const std::exception& e) {
        std::cerr << "twinspanctl: " << e.what() << '\n';
        return twinspan::ctl::kFailed;
    }
}

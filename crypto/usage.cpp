#include "crypto/usage.hpp"

#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace twinspan {
namespace {

constexpr std::align_val_t kLine{64};

struct FreeAligned {
    void operator()(UsageCell* cells) const noexcept { ::operator delete(cells, kLine); }
};

// Cells are taken and given back one by one; their memory stays, for at most as many SAs as there were at once.
class Store {
public:
    UsageCell* take() {
        const std::lock_guard lock{mutex_};
        if (free_.empty()) {
            grow();
        }
        UsageCell* cells = free_.back();
        free_.pop_back();
        for (unsigned w = 0; w < workers_; ++w) {
            new (cells + w * UsageCounter::kStride) UsageCell;
        }
        return cells;
    }
    void give_back(UsageCell* cells) noexcept {
        const std::lock_guard lock{mutex_};
        free_.push_back(cells);
    }
    void set_workers(unsigned n) {
        const std::lock_guard lock{mutex_};
        if (pieces_.empty()) {
            workers_ = n;
        } else if (n > workers_) {
            throw std::logic_error("SAs have been made for " + std::to_string(workers_) + " workers");
        }
    }
    unsigned workers() const noexcept { return workers_; }

private:
    void grow() {
        constexpr std::size_t kSlots = UsageCounter::kStride;
        void* memory = ::operator new(workers_ * kSlots * sizeof(UsageCell), kLine);
        pieces_.emplace_back(static_cast<UsageCell*>(memory));
        free_.reserve(pieces_.size() * kSlots);  // give_back never allocates
        for (std::size_t slot = kSlots; slot-- > 0;) {
            free_.push_back(pieces_.back().get() + slot);
        }
    }

    std::mutex mutex_;
    std::vector<std::unique_ptr<UsageCell, FreeAligned>> pieces_;
    std::vector<UsageCell*> free_;
    unsigned workers_ = UsageCounter::kMostWorkers;
};

// Never destroyed: SAs of static lifetime give their cells back when the process ends.
Store& store() {
    static Store* const all = new Store;
    return *all;
}

}  // namespace

void UsageCounter::set_workers(unsigned n) { store().set_workers(n); }

UsageCounter::UsageCounter() : cells_(store().take()) {}
UsageCounter::~UsageCounter() { store().give_back(cells_); }

SaUsage UsageCounter::sum() const noexcept {
    SaUsage all;
    for (unsigned w = 0; w < store().workers(); ++w) {
        const SaUsage part = cells_[w * kStride].read();
        all.packets += part.packets;
        all.bytes += part.bytes;
    }
    return all;
}

}  // namespace twinspan

#include "crypto/secret_arena.hpp"

#include <sys/mman.h>

#include <new>

namespace twinspan {
namespace {

// A process with a handful of keys and a low limit locks the first, small piece.
constexpr std::size_t kFirstPiece = std::size_t{64} << 10;
constexpr std::size_t kPiece = std::size_t{2} << 20;

std::size_t round_up(std::size_t bytes, std::size_t to) noexcept { return (bytes + to - 1) / to * to; }

// mlock and madvise do not nest, so secrets share no page with anything else.
std::uint8_t* locked_pages(std::size_t bytes, std::size_t alignment) {
    const std::size_t slack = alignment > 4096 ? alignment : 0;
    void* pages = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        throw std::bad_alloc();
    }
    auto* begin = static_cast<std::uint8_t*>(pages);
    if (slack != 0) {
        auto* aligned = begin + (round_up(reinterpret_cast<std::uintptr_t>(begin), slack) -
                                 reinterpret_cast<std::uintptr_t>(begin));
        if (aligned != begin) {
            munmap(begin, static_cast<std::size_t>(aligned - begin));
        }
        if (aligned != begin + slack) {
            munmap(aligned + bytes, static_cast<std::size_t>(begin + slack - aligned));
        }
        begin = aligned;
        (void)madvise(begin, bytes, MADV_HUGEPAGE);
    }
    (void)madvise(begin, bytes, MADV_DONTDUMP);
    (void)mlock(begin, bytes);
    return begin;
}

std::size_t lines_of(std::size_t bytes) noexcept { return (bytes + SecretArena::kLine - 1) / SecretArena::kLine; }

}  // namespace

SecretArena& secret_memory() noexcept {
    // Never destroyed: keys with static lifetime may outlive any static made here.
    static auto& arena = *new SecretArena;
    return arena;
}

void SecretArena::refill() {
    // What is left of the piece before serves smaller blocks.
    if (const auto left = static_cast<std::size_t>(end_ - next_) / kLine; left != 0 && left <= kMostLines) {
        free_[left] = new (next_) Free{free_[left]};
    }
    const std::size_t size = end_ == nullptr ? kFirstPiece : kPiece;
    static_assert(kFirstPiece >= kMostLines * kLine);
    next_ = locked_pages(size, size == kPiece ? kPiece : 4096);
    end_ = next_ + size;
}

void* SecretArena::do_allocate(std::size_t bytes, std::size_t alignment) {
    if (alignment > kLine) {
        throw std::bad_alloc();
    }
    const std::size_t lines = lines_of(bytes);
    if (lines > kMostLines) {
        return locked_pages(round_up(bytes, 4096), 4096);
    }
    const std::scoped_lock lock{mutex_};
    if (Free* block = free_[lines]; block != nullptr) {
        free_[lines] = block->next;
        return block;
    }
    if (static_cast<std::size_t>(end_ - next_) < lines * kLine) {
        refill();
    }
    std::uint8_t* block = next_;
    next_ += lines * kLine;
    return block;
}

void SecretArena::do_deallocate(void* block, std::size_t bytes, std::size_t) {
    const std::size_t lines = lines_of(bytes);
    if (lines > kMostLines) {
        munmap(block, round_up(bytes, 4096));
        return;
    }
    const std::scoped_lock lock{mutex_};
    free_[lines] = new (block) Free{free_[lines]};
}

}  // namespace twinspan

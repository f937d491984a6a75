#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/io_handler.h"
#include "snapshot/device.h"

namespace cupule::testing {

/// One register range of a device under contract.
struct ContractRange {
    io::IoHandler* handler = nullptr;
    std::uint64_t size = 0;
};

/// A device with everything it needs, made anew for each property.
struct ContractSubject {
    /// Keeps the device and its fakes alive.
    std::shared_ptr<void> owner{};
    snapshot::Device* device = nullptr;
    std::vector<ContractRange> ranges{};
    /// Lets time pass and other outside events happen; may be empty.
    std::function<void(std::uint64_t random)> disturb{};
};

using ContractFactory = std::function<ContractSubject()>;

/// The promises every device keeps. Each returns an empty text when it holds, else what broke it:
///  - any offset and size is answered, with no bits above the access size needed;
///  - after random accesses, reset gives exactly the state of a fresh device;
///  - save, restore into a fresh device and save again gives the same tree;
///  - restoring random bytes leaves a device that still answers and resets to fresh.
/// `seed` makes a run repeatable.
std::string check_answers_everywhere(const ContractFactory& make);
std::string check_reset_equals_fresh(const ContractFactory& make, std::uint64_t seed);
std::string check_save_restore_save(const ContractFactory& make, std::uint64_t seed);
std::string check_survives_random_restore(const ContractFactory& make, std::uint64_t seed);

}  // namespace cupule::testing

/// Declares the contract tests of a device: CUPULE_DEVICE_CONTRACT(Rtc, [] { ... return subject; })
#define CUPULE_DEVICE_CONTRACT(name, factory)                                                  \
    TEST(name##Contract, AnswersEveryOffsetAndSize) {                                          \
        EXPECT_EQ(::cupule::testing::check_answers_everywhere(factory), "");                   \
    }                                                                                          \
    TEST(name##Contract, ResetEqualsFresh) {                                                   \
        for (std::uint64_t seed = 1; seed <= 20; ++seed) {                                     \
            EXPECT_EQ(::cupule::testing::check_reset_equals_fresh(factory, seed), "") << seed; \
        }                                                                                      \
    }                                                                                          \
    TEST(name##Contract, SaveRestoreSaveIsIdentical) {                                         \
        for (std::uint64_t seed = 1; seed <= 20; ++seed) {                                     \
            EXPECT_EQ(::cupule::testing::check_save_restore_save(factory, seed), "") << seed;  \
        }                                                                                      \
    }                                                                                          \
    TEST(name##Contract, SurvivesRandomRestore) {                                              \
        for (std::uint64_t seed = 1; seed <= 20; ++seed) {                                     \
            EXPECT_EQ(::cupule::testing::check_survives_random_restore(factory, seed), "")     \
                << seed;                                                                       \
        }                                                                                      \
    }

#include "testing/device_contract.h"

#include <fmt/core.h>

#include <random>

#include "snapshot/snapshot.h"

namespace cupule::testing {
namespace {

constexpr int accesses = 400;

snapshot::Tree save(snapshot::Device& device) {
    snapshot::Saver saver;
    device.visit(saver);
    return saver.take();
}

/// Random accesses of every legal shape, with time passing in between.
void scramble(ContractSubject& subject, std::mt19937_64& random) {
    for (int i = 0; i < accesses; ++i) {
        const ContractRange& range = subject.ranges[random() % subject.ranges.size()];
        const unsigned size = 1U << (random() % 4);
        if (size > range.size) {
            continue;
        }
        const std::uint64_t offset = random() % (range.size - size + 1);
        if (random() % 3 == 0) {
            range.handler->read(offset, size);
        } else {
            const std::uint64_t value = random() >> (random() % 64);
            range.handler->write(offset, size,
                                 value & (size == 8 ? ~0ULL : (1ULL << (size * 8)) - 1));
        }
        if (subject.disturb && random() % 8 == 0) {
            subject.disturb(random());
        }
    }
}

std::string difference(const snapshot::Tree& expected, const snapshot::Tree& actual) {
    for (const auto& [name, value] : expected) {
        const auto found = actual.find(name);
        if (found == actual.end() || found->second != value) {
            return fmt::format(
                "field '{}' differs:\nexpected\n{}actual\n{}", name,
                snapshot::to_text({{name, value}}),
                found == actual.end() ? std::string("missing\n") : snapshot::to_text({*found}));
        }
    }
    return expected.size() == actual.size() ? "" : "the trees have different fields";
}

}  // namespace

std::string check_answers_everywhere(const ContractFactory& make) {
    ContractSubject subject = make();
    for (const ContractRange& range : subject.ranges) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            for (std::uint64_t offset = 0; offset < range.size && size <= range.size - offset;
                 offset += range.size > 0x2000 ? 0x1F : 1) {
                const std::uint64_t value = range.handler->read(offset, size);
                range.handler->write(offset, size, value);
                range.handler->register_name(offset);
            }
        }
    }
    return "";
}

std::string check_reset_equals_fresh(const ContractFactory& make, std::uint64_t seed) {
    ContractSubject fresh = make();
    const snapshot::Tree expected = save(*fresh.device);
    if (expected.empty()) {
        return "the device visits no field";
    }
    ContractSubject subject = make();
    std::mt19937_64 random(seed);
    scramble(subject, random);
    subject.device->reset();
    return difference(expected, save(*subject.device));
}

std::string check_save_restore_save(const ContractFactory& make, std::uint64_t seed) {
    ContractSubject subject = make();
    std::mt19937_64 random(seed);
    scramble(subject, random);
    const snapshot::Tree saved = save(*subject.device);
    ContractSubject copy = make();
    snapshot::Restorer restorer(saved);
    copy.device->visit(restorer);
    if (!restorer.problems().empty()) {
        return "restore reports: " + restorer.problems().front();
    }
    return difference(saved, save(*copy.device));
}

std::string check_survives_random_restore(const ContractFactory& make, std::uint64_t seed) {
    ContractSubject fresh = make();
    snapshot::Tree tree = save(*fresh.device);
    const snapshot::Tree expected = tree;
    std::mt19937_64 random(seed);
    for (auto& [name, bytes] : tree) {
        for (std::uint8_t& byte : bytes) {
            byte = static_cast<std::uint8_t>(random());
        }
    }
    ContractSubject subject = make();
    snapshot::Restorer restorer(tree);
    subject.device->visit(restorer);
    scramble(subject, random);
    subject.device->reset();
    return difference(expected, save(*subject.device));
}

}  // namespace cupule::testing

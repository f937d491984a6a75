#include "app/command_line.h"

#include <getopt.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace cupule::app {
namespace {

using Words = std::vector<std::string_view>;
using testing::ElementsAre;
using testing::HasSubstr;

/// A command line as a list: "memsize=1G", "acpi=", and the positional words behind.
struct Reading {
    std::vector<std::string> options;
    std::vector<std::string> positionals;
    Problems problems;
};

Reading read(const Words& words) {
    Reading reading;
    reading.positionals = read_command_line(
        words,
        [&reading](const OptionInfo& option, const std::string& value) {
            reading.options.push_back(fmt::format("{}={}", option.long_name, value));
        },
        reading.problems);
    return reading;
}

/// The same by the C library.
Reading read_with_getopt(const Words& words) {
    std::string letters;
    std::vector<std::string> names;
    for (const OptionInfo& info : option_schema()) {
        names.emplace_back(info.long_name);
        if (info.short_letter != 0) {
            letters += info.short_letter;
            letters += info.argument == OptionArgument::required ? ":" : "";
        }
    }
    std::vector<option> options;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const OptionInfo& info = option_schema()[i];
        options.push_back(
            {names[i].c_str(),
             info.argument == OptionArgument::required ? required_argument : no_argument, nullptr,
             1000 + static_cast<int>(i)});
    }
    options.push_back({nullptr, 0, nullptr, 0});
    std::vector<std::string> storage{"cupule"};
    storage.insert(storage.end(), words.begin(), words.end());
    std::vector<char*> argv;
    for (std::string& word : storage) {
        argv.push_back(word.data());
    }
    argv.push_back(nullptr);

    Reading reading;
    opterr = 0;
    optind = 0;
    for (;;) {
        const int argc = static_cast<int>(storage.size());
        const int code = getopt_long(argc, argv.data(), letters.c_str(), options.data(), nullptr);
        if (code == -1) {
            break;
        }
        if (code == '?') {
            reading.problems.error(1, "?");
            continue;
        }
        std::string_view name;
        for (const OptionInfo& info : option_schema()) {
            if (code == info.short_letter || code == 1000 + static_cast<int>(info.id)) {
                name = info.long_name;
            }
        }
        reading.options.push_back(fmt::format("{}={}", name, optarg != nullptr ? optarg : ""));
    }
    for (std::size_t i = static_cast<std::size_t>(optind); i < storage.size(); ++i) {
        reading.positionals.emplace_back(argv[i]);
    }
    return reading;
}

TEST(CommandLine, TakesAValueAttachedBehindAnEqualsSignOrInTheNextWord) {
    for (const Words& words : {Words{"-m", "1G"}, Words{"-m1G"}, Words{"--memsize", "1G"},
                               Words{"--memsize=1G"}, Words{"--mem=1G"}, Words{"-Am1G"}}) {
        const Reading reading = read(words);
        ASSERT_FALSE(reading.options.empty()) << words[0];
        EXPECT_EQ(reading.options.back(), "memsize=1G") << words[0];
        EXPECT_TRUE(reading.problems.errors().empty()) << words[0];
    }
}

TEST(CommandLine, FindsTheNameBetweenOptions) {
    const Reading reading = read({"-lcom1,stdio", "vm1", "-s", "1:0,lpc"});
    EXPECT_THAT(reading.options, ElementsAre("lpc=com1,stdio", "pci_slot=1:0,lpc"));
    EXPECT_THAT(reading.positionals, ElementsAre("vm1"));
}

TEST(CommandLine, TakesAnExactNameThatBeginsOthers) {
    const Reading reading = read({"--acpi", "--cpus", "2"});
    EXPECT_THAT(reading.options, ElementsAre("acpi=", "cpus=2"));
}

TEST(CommandLine, RefusesAmbiguousBeginningsAndNamesThem) {
    const Reading reading = read({"--virtio"});
    ASSERT_EQ(reading.problems.errors().size(), 1U);
    EXPECT_EQ(reading.problems.errors()[0].message,
              "option '--virtio' is ambiguous: it begins --virtio_msi, --virtio_poll");
    EXPECT_EQ(reading.problems.exit_code(), 1);
}

TEST(CommandLine, ABareSsramLeavesTheNextOptionAlone) {
    const Reading reading = read({"--ssram", "-m", "1G", "vm"});
    EXPECT_THAT(reading.options, ElementsAre("memsize=1G"));
    ASSERT_EQ(reading.problems.errors().size(), 1U);
    EXPECT_THAT(reading.problems.errors()[0].message, HasSubstr("option --ssram needs a value"));
}

TEST(CommandLine, SuggestsTheNearestOptionAndGoesOn) {
    const Reading reading = read({"--memsiez=1G", "--frobnicate", "-kernel", "-q", "vm"});
    const auto& errors = reading.problems.errors();
    ASSERT_EQ(errors.size(), 3U);
    EXPECT_EQ(errors[0].message, "unknown option '--memsiez'; did you mean '--memsize'?");
    EXPECT_EQ(errors[1].message,
              "unknown option '--frobnicate'; `cupule run --help` lists the options");
    // "-kernel" is -k with the value "ernel" to getopt_long, and here.
    EXPECT_THAT(reading.options, ElementsAre("kernel=ernel"));
    EXPECT_EQ(errors[2].message, "unknown option '-q'");
    EXPECT_THAT(reading.positionals, ElementsAre("vm"));
}

TEST(CommandLine, RefusesAValueForAFlagAndAValueThatIsMissing) {
    EXPECT_EQ(read({"--rtvm=yes"}).problems.errors().at(0).message,
              "option --rtvm takes no value, but has 'yes'");
    EXPECT_EQ(read({"vm", "-k"}).problems.errors().at(0).message,
              "option -k/--kernel needs a value: FILE");
}

TEST(CommandLine, ReadsWhatGetoptLongReads) {
    const Words vocabulary{
        "-A",      "-AY",          "-m",       "-m1G", "-Ym2G",     "-s",      "0:0,x",
        "-s1,lpc", "vm",           "--",       "-",    "--memsize", "--mem",   "--mem=3G",
        "--rtvm",  "--rtvm=1",     "--virtio", "--v",  "--cpu",     "--cpus=", "--cpus",
        "-k",      "--kernel=a=b", "-q",       "-Aq",  "--zz",      "-lcom1",  "--windows",
        "--log",   "-U",           "uuid",     "--he", "--h",       "--intr",  "",
        "-A=1"};
    std::mt19937 random(1);
    for (int round = 0; round < 5000; ++round) {
        Words words;
        for (std::size_t count = random() % 7; count > 0; --count) {
            words.push_back(vocabulary[random() % vocabulary.size()]);
        }
        const Reading ours = read(words);
        const Reading theirs = read_with_getopt(words);
        std::string line;
        for (const std::string_view word : words) {
            line += fmt::format("[{}] ", word);
        }
        ASSERT_EQ(ours.options, theirs.options) << line;
        ASSERT_EQ(ours.positionals, theirs.positionals) << line;
        ASSERT_EQ(ours.problems.errors().empty(), theirs.problems.errors().empty()) << line;
    }
}

}  // namespace
}  // namespace cupule::app

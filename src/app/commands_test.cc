#include "app/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/files.h"
#include "app/help.h"
#include "app/option_schema.h"
#include "machine/device_catalogue.h"

namespace cupule::app {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

struct Output {
    int status = 0;
    std::string out;
    std::string errors;
    std::vector<std::string> ran;
    std::optional<std::uint32_t> serve_statistics_s{};
};

Output call(const std::vector<std::string_view>& words) {
    Output output;
    const CommandContext context{
        .print = [&output](std::string_view text) { output.out += text; },
        .complain = [&output](std::string_view text) { output.errors += text; },
        .host = {.file_size = [](const std::string&) -> base::Result<std::uint64_t> { return 1; },
                 .cpus = [] { return HostCpus{}; },
                 .check_channel = [](std::string_view) { return base::Result<void>{}; }},
        .run_machine =
            [&output](const VmOptions& options) {
                output.ran.push_back(options.name);
                return 7;
            },
        .run_hsm =
            [&output](const HsmOptions& options) {
                output.ran.push_back(options.device);
                for (const HsmOptions::SharedMemory& memory : options.shared_memory) {
                    output.ran.push_back(fmt::format("{} {}", memory.name, memory.size_mb));
                }
                return 3;
            },
        .run_serve =
            [&output](const ServeOptions& options) {
                output.ran.push_back(options.device + " " + options.options + " " + options.socket);
                output.serve_statistics_s = options.statistics_period_s;
                return 5;
            }};
    output.status = run_program(words, context);
    return output;
}

TEST(Commands, RunRunsTheMachineAndReturnsItsStatus) {
    for (const std::vector<std::string_view>& words :
         {std::vector<std::string_view>{"./cupule", "run", "-k", "/k", "vm"},
          std::vector<std::string_view>{"/usr/bin/acrn-dm", "-k", "/k", "vm"}}) {
        const Output output = call(words);
        EXPECT_EQ(output.status, 7);
        EXPECT_EQ(output.ran, std::vector<std::string>{"vm"});
    }
}

TEST(Commands, HsmTakesADeviceNameAndMemoryToShare) {
    EXPECT_EQ(call({"cupule", "hsm"}).ran, std::vector<std::string>{"acrn_hsm"});
    const Output output = call({"cupule", "hsm", "--shared-memory", "hv:/a,2", "--device", "mine",
                                "--shared-memory", "hv:/b,512"});
    EXPECT_EQ(output.status, 3);
    EXPECT_EQ(output.ran, (std::vector<std::string>{"mine", "hv:/a 2", "hv:/b 512"}));
    for (const std::string_view wrong : {"hv:/a", "hv:/a,3", "hv:/a,1024", "hv:/a,", "/a,2",
                                         "hv:/a-name-of-more-than-31-characters,2"}) {
        const Output refused = call({"cupule", "hsm", "--shared-memory", wrong});
        EXPECT_TRUE(refused.ran.empty()) << wrong;
        EXPECT_THAT(refused.errors, HasSubstr("hv:/NAME,SIZE_MB is wanted"));
    }
    EXPECT_THAT(call({"cupule", "hsm", "--device"}).errors, HasSubstr("and nothing else"));
    EXPECT_THAT(call({"cupule", "hsm", "--device", "a/b"}).errors, HasSubstr("1 to 31 letters"));
}

TEST(Commands, ServeTakesADeviceItsOptionsAndASocket) {
    for (const std::vector<std::string_view>& words :
         {std::vector<std::string_view>{"cupule", "serve", "virtio-blk", "d,ro", "--socket", "s"},
          std::vector<std::string_view>{"cupule", "serve", "--socket-path=s", "--poll=0",
                                        "virtio-blk", "d,ro"}}) {
        const Output output = call(words);
        EXPECT_EQ(output.status, 5) << output.errors;
        EXPECT_EQ(output.ran, std::vector<std::string>{"virtio-blk d,ro s"});
    }
    EXPECT_THAT(call({"cupule", "serve", "--help"}).out, HasSubstr("--socket PATH"));
    EXPECT_EQ(call({"cupule", "serve", "virtio-blk", "d", "--socket", "s"}).serve_statistics_s,
              std::nullopt);
    EXPECT_EQ(call({"cupule", "serve", "virtio-blk", "d", "--socket", "s", "--stats", "5"})
                  .serve_statistics_s,
              5U);
    EXPECT_EQ(call({"cupule", "serve", "virtio-blk", "d", "--socket", "s", "--stats=0"})
                  .serve_statistics_s,
              0U);
}

TEST(Commands, ServeSaysWhatIsWrongAndServesNothing) {
    const std::pair<std::vector<std::string_view>, const char*> bad[] = {
        {{"cupule", "serve"}, "the device is missing"},
        {{"cupule", "serve", "virtio-rnd", "", "--socket", "s"}, "cannot be served"},
        {{"cupule", "serve", "virtio-blk", "d"}, "--socket PATH is missing"},
        {{"cupule", "serve", "virtio-blk", "d,bogus", "--socket", "s"}, "'bogus'"},
        {{"cupule", "serve", "virtio-blk", "d", "--socket", "s", "--poll", "x"}, "--poll 'x'"},
        {{"cupule", "serve", "virtio-blk", "d", "--socket", "s", "--stats", "-1"}, "--stats '-1'"},
        {{"cupule", "serve", "virtio-blk", "d", "--socket", "s", "--stats"}, "--stats ''"},
        {{"cupule", "serve", "virtio-blk", "d", "--sock", "s"}, "unknown option '--sock'"},
        {{"cupule", "serve", "virtio-net", "tap=t,vhost", "--socket", "s"}, "neither vhost"},
        {{"cupule", "serve", "virtio-net", "vhost-user=x", "--socket", "s"}, "vhost-user"},
    };
    for (const auto& [words, text] : bad) {
        const Output output = call(words);
        EXPECT_NE(output.status, 0);
        EXPECT_TRUE(output.ran.empty());
        EXPECT_THAT(output.errors, HasSubstr(text));
    }
}

TEST(Commands, CheckReportsAllProblemsAndRunsNothing) {
    const Output good = call({"cupule", "run", "--check", "-k", "/k", "-s", "0,hostbridge", "-s",
                              "1,lpc", "-l", "com1", "vm"});
    EXPECT_EQ(good.status, 0);
    EXPECT_TRUE(good.ran.empty());
    EXPECT_EQ(good.errors, "");
    const Output bad = call({"cupule", "run", "--check", "-m", "x", "--cpus=0", "-s", "1,foo"});
    EXPECT_EQ(bad.status, 64);
    EXPECT_TRUE(bad.ran.empty());
    EXPECT_EQ(std::ranges::count(bad.errors, '\n'), 7);
}

TEST(Commands, EveryLineOfAProblemBeginsWithTheProgramsName) {
    const Output output = call({"cupule", "run", "-A", "--bogus", "-m1"});
    EXPECT_EQ(output.status, 1);
    EXPECT_TRUE(output.ran.empty());
    std::size_t begin = 0;
    while (begin < output.errors.size()) {
        EXPECT_THAT(output.errors.substr(begin), StartsWith("cupule: "));
        begin = output.errors.find('\n', begin) + 1;
    }
}

TEST(Commands, HelpAndVersionGoToStandardOutput) {
    EXPECT_THAT(call({"cupule", "run", "-h"}).out, HasSubstr("-m, --memsize SIZE(K|M|G)"));
    EXPECT_THAT(call({"acrn-dm", "-v"}).out, MatchesRegex("DM: .*-.*-.* build by .*@.*\n"));
    EXPECT_THAT(call({"cupule", "version"}).out, StartsWith("cupule "));
    EXPECT_THAT(call({"cupule", "help"}).out, HasSubstr("probe [--json]"));
    EXPECT_EQ(call({"cupule", "run", "-h"}).status, 0);
}

TEST(Commands, EveryCommandAnswersHelp) {
    for (const std::string_view command :
         {"run", "hsm", "probe", "devices", "passthrough", "version", "help"}) {
        for (const std::string_view flag : {"--help", "-h"}) {
            const Output output = call({"cupule", command, flag});
            EXPECT_EQ(output.status, 0) << command;
            EXPECT_EQ(output.errors, "") << command;
            EXPECT_THAT(output.out, StartsWith("usage: cupule ")) << command;
        }
        EXPECT_THAT(call({"cupule", "help"}).out, HasSubstr(fmt::format("\n  {} ", command)));
    }
    EXPECT_THAT(call({"cupule", "devices", "--help"}).out,
                StartsWith("usage: cupule devices [--json|--markdown]\n"));
}

TEST(Commands, AWordThatIsNoCommandSuggestsTheNearest) {
    EXPECT_THAT(call({"cupule", "porbe"}).errors, HasSubstr("did you mean 'probe'?"));
    EXPECT_EQ(call({"cupule", "porbe"}).status, 1);
    EXPECT_EQ(call({"cupule"}).status, 1);
    EXPECT_THAT(call({"cupule", "devices", "--xml"}).errors,
                HasSubstr("'--xml' is not known; it takes --json --markdown"));
}

TEST(Commands, HelpNamesEveryOptionWithItsGrammar) {
    const std::string help = run_help();
    for (const OptionInfo& option : option_schema()) {
        EXPECT_THAT(help, HasSubstr(fmt::format("--{}", option.long_name)));
        EXPECT_THAT(help, HasSubstr(std::string(option.grammar)));
    }
}

TEST(Commands, DevicesAreListedInEveryForm) {
    const auto list = nlohmann::json::parse(devices_json(), nullptr, false);
    ASSERT_FALSE(list.is_discarded());
    ASSERT_EQ(list.size(), machine::device_catalogue().size());
    EXPECT_EQ(list[0]["name"], "ahci");
    EXPECT_EQ(list[0]["status"], "planned");
    for (const machine::DeviceInfo& device : machine::device_catalogue()) {
        EXPECT_THAT(devices_text(), HasSubstr(std::string(device.name)));
    }
}

// After a change of the schema: `cupule help --markdown > docs/command_line.md` and
// `cupule devices --markdown > docs/devices.md`.
TEST(Commands, TheCommittedDocsAreCurrent) {
    EXPECT_EQ(read_file("docs/command_line.md").value_or(""), command_line_markdown());
    EXPECT_EQ(read_file("docs/devices.md").value_or(""), devices_markdown());
}

TEST(Commands, TheSchemasNamesAndLettersAreUnique) {
    std::vector<std::string_view> names;
    std::string letters;
    for (const OptionInfo& option : option_schema()) {
        EXPECT_EQ(std::ranges::count(names, option.long_name), 0) << option.long_name;
        names.push_back(option.long_name);
        if (option.short_letter != 0) {
            EXPECT_EQ(letters.find(option.short_letter), std::string::npos) << option.long_name;
            letters += option.short_letter;
        }
        EXPECT_EQ(option.grammar.empty(), option.argument == OptionArgument::none);
    }
    // acrn-dm's, all of them and no more.
    std::ranges::sort(letters);
    EXPECT_EQ(letters, "ABEGUYhiklmrsv");
}

}  // namespace
}  // namespace cupule::app

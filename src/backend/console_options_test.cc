#include "backend/console_options.h"

#include <gtest/gtest.h>

namespace cupule::backend {
namespace {

TEST(ConsoleOptions, ReadsAcrnDmsGrammar) {
    const auto ports = parse_console_ports(
        "@stdio:stdio_port,pty:p,pty:q=/tmp/q,file:log=/var/a:b,tty:t=/dev/ttyS1,"
        "@socket:s=/run/s,socket:u=/run/u:server,socket:v=/run/v:client");
    ASSERT_TRUE(ports.has_value()) << ports.error().message;
    const auto port = [](bool console, const char* name, ChannelKind kind, const char* path) {
        return ConsolePortOptions{
            .console = console, .name = name, .channel = {.kind = kind, .path = path}};
    };
    EXPECT_EQ(*ports, (std::vector<ConsolePortOptions>{
                          port(true, "stdio_port", ChannelKind::stdio, ""),
                          port(false, "p", ChannelKind::pty, ""),
                          port(false, "q", ChannelKind::pty, "/tmp/q"),
                          port(false, "log", ChannelKind::file, "/var/a:b"),
                          port(false, "t", ChannelKind::tty, "/dev/ttyS1"),
                          port(true, "s", ChannelKind::unix_server, "/run/s"),
                          port(false, "u", ChannelKind::unix_server, "/run/u"),
                          port(false, "v", ChannelKind::unix_client, "/run/v")}));
}

TEST(ConsoleOptions, RefusesWhatItDoesNotUnderstand) {
    for (const char* text : {"", "stdio", "@", "disk:x=/y", "file:log", "socket:s", "tty:t",
                             "pty:", "file:=/x", "stdio:a,stdio:a", "pty:a,,pty:b"}) {
        EXPECT_FALSE(parse_console_ports(text).has_value()) << text;
    }
    std::string many = "pty:0";
    for (int i = 1; i < 17; ++i) {
        many += ",pty:" + std::to_string(i);
    }
    const auto ports = parse_console_ports(many);
    ASSERT_FALSE(ports.has_value());
    EXPECT_NE(ports.error().message.find("16"), std::string::npos);
}

}  // namespace
}  // namespace cupule::backend

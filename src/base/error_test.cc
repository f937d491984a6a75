#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace cupule::base {
namespace {

Result<int> half(int value) {
    if (value % 2 != 0) {
        return fail("{} is odd", value);
    }
    return value / 2;
}

Result<int> quarter(int value) {
    CUPULE_TRY_ASSIGN(const int once, half(value));
    CUPULE_TRY(half(once));
    return half(once);
}

TEST(Result, TryReturnsTheFirstError) {
    EXPECT_EQ(quarter(8).value_or(-1), 2);
    ASSERT_FALSE(quarter(6).has_value());
    EXPECT_EQ(quarter(6).error().message, "3 is odd");
}

TEST(Error, CarriesErrnoTextAndContext) {
    const Result<int> result = fail_errno(ENOENT, "cannot open '{}'", "vmlinuz");
    EXPECT_EQ(result.error().message, "cannot open 'vmlinuz': No such file or directory");
    EXPECT_EQ(result.error().code, ENOENT);
    EXPECT_EQ(result.error().in("kernel").message,
              "kernel: cannot open 'vmlinuz': No such file or directory");
}

}  // namespace
}  // namespace cupule::base

// SA files: who may read them, what they must hold, and that no message holds a key.
#include "control/config/sa_file.hpp"
#include "control/config/secret_text.hpp"
#include "tests/support/source_path.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace twinspan {
namespace {

const std::string kKeyA = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeffdeadbeef";
const std::string kKeyB = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100cafef00d";

class SaFileTest : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "sa-XXXXXX";
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::filesystem::path write(const std::string& text, mode_t mode = 0600,
                                const std::string& name = "t.sa.yaml") const {
        const std::filesystem::path path = folder_ / name;
        std::ofstream{path} << text;
        EXPECT_EQ(chmod(path.c_str(), mode), 0);
        return path;
    }
    // The messages, without the folder's name.
    std::string errors(const std::filesystem::path& path) const {
        const auto file = load_sa_file(path);
        std::string out;
        if (!file) {
            for (const ConfigError& error : file.error()) {
                out += (out.empty() ? "" : "\n") + to_string(error).substr(folder_.native().size() + 1);
            }
        }
        return out;
    }
    static std::string text(const std::string& out_key, const std::string& in_key, const std::string& spi = "0x1001") {
        return "outbound: { spi: " + spi + ", suite: aes-256-gcm, key: " + out_key + " }\n" +
               "inbound:  { spi: 0x2001, suite: aes-256-gcm, key: " + in_key + ", replay-window: 4096 }\n";
    }

    static std::string suites() {
        std::string out;
        for (const SuiteInfo& suite : kSuites) {
            out += (out.empty() ? "" : ", ") + std::string{suite.name};
        }
        return out;
    }

    std::filesystem::path folder_;
};

TEST_F(SaFileTest, ReadsBothDirections) {
    const auto file = load_sa_file(write(text(kKeyA, "\"0x" + kKeyB + '"')));
    ASSERT_TRUE(file) << to_string(file.error().at(0));
    EXPECT_EQ(file->outbound.spi, 0x1001u);
    EXPECT_EQ(file->outbound.suite, Suite::aes_256_gcm);
    EXPECT_EQ(file->inbound.spi, 0x2001u);
    EXPECT_EQ(file->replay_window_bits, 4096u);
    EXPECT_TRUE(equal_in_constant_time(file->outbound.keymat.span(), SecretBytes::from_hex(kKeyA)->span()));
    EXPECT_TRUE(equal_in_constant_time(file->inbound.keymat.span(), SecretBytes::from_hex(kKeyB)->span()));
}

TEST_F(SaFileTest, UdpEncapsulation) {
    const auto plain = load_sa_file(write(text(kKeyA, kKeyB)));
    ASSERT_TRUE(plain);
    EXPECT_FALSE(plain->encapsulation().udp());
    const auto udp = load_sa_file(write("udp-encapsulation: 4500\n" + text(kKeyA, kKeyB)));
    ASSERT_TRUE(udp) << to_string(udp.error().at(0));
    EXPECT_EQ(udp->encapsulation(), (Encapsulation{to_be16(4500), to_be16(4500)}));
    for (const char* bad : {"500", "0", "65536", "yes"}) {
        EXPECT_TRUE(errors(write("udp-encapsulation: " + std::string{bad} + "\n" + text(kKeyA, kKeyB)))
                        .starts_with("t.sa.yaml:1:20: found '" + std::string{bad} + "', expected "))
            << errors(write("udp-encapsulation: " + std::string{bad} + "\n" + text(kKeyA, kKeyB)));
    }
}

TEST_F(SaFileTest, RefusesEveryModeThatOthersMayUse) {
    const auto path = write(text(kKeyA, kKeyB));
    for (mode_t mode = 0; mode < 0100; ++mode) {
        ASSERT_EQ(chmod(path.c_str(), 0600 | mode), 0);
        const std::string expected = mode == 0 ? ""
                                               : "t.sa.yaml: found a file that group or others may access, expected "
                                                 "keys that only their owner may read (chmod 0600)";
        EXPECT_EQ(errors(path), expected) << std::oct << mode;
    }
}

TEST_F(SaFileTest, RefusesAnotherOwner) {
    if (geteuid() != 0) {
        GTEST_SKIP() << "only root can give a file away";
    }
    const auto path = write(text(kKeyA, kKeyB));
    ASSERT_EQ(chown(path.c_str(), 1000, 0), 0);
    EXPECT_EQ(errors(path),
              "t.sa.yaml: found a file of user 1000, expected one of root: keys are read by root only (chown root)");
}

TEST_F(SaFileTest, RefusesLinksFoldersAndFifos) {
    const auto path = write(text(kKeyA, kKeyB));
    std::filesystem::create_symlink(path, folder_ / "link");
    EXPECT_EQ(errors(folder_ / "link"), "link: found a symbolic link, expected the file itself");
    ASSERT_EQ(mkfifo((folder_ / "fifo").c_str(), 0600), 0);
    EXPECT_EQ(errors(folder_ / "fifo"), "fifo: found something other than a file, expected a regular file")
        << "and must not hang";
    EXPECT_EQ(errors(folder_ / "gone"),
              "gone: found no readable file (No such file or directory), expected an SA file");
}

TEST_F(SaFileTest, ChecksSpiSuiteAndKeyLength) {
    EXPECT_EQ(errors(write(text(kKeyA, kKeyB, "255"))),
              "t.sa.yaml:1:18: found '255', expected an SPI from 256 to 4294967295 (0x100 to 0xffffffff)");
    EXPECT_EQ(errors(write(text(kKeyA, kKeyB, "256"))), "");
    EXPECT_EQ(errors(write(text(kKeyA.substr(0, 64), kKeyB))),
              "t.sa.yaml:1:51: found 64 hex digits, expected 72 hex digits: the key of aes-256-gcm followed by its "
              "4-byte salt");
    EXPECT_EQ(errors(write(text("dead", kKeyB))),
              "t.sa.yaml:1:51: found no run of hex digits, expected 72 hex digits: the key of aes-256-gcm followed by "
              "its 4-byte salt");
    std::string other = text(kKeyA, kKeyB);
    other.replace(other.find("aes-256-gcm"), 11, "aes-256-cbc");
    EXPECT_EQ(errors(write(other)),
              "t.sa.yaml:1:33: found 'aes-256-cbc', expected one of " + suites() + "; did you mean 'aes-256-gcm'?");
    EXPECT_EQ(errors(write("outbound: { spi: 0x1001, suite: aes-256-gcm, key: " + kKeyA + " }\n")),
              "t.sa.yaml:1:1: found no key 'inbound', expected the SA for what we receive");
    const std::string short_keys = "outbound: { spi: 256, suite: aes-128-gcm, key: " + kKeyA.substr(0, 40) +
                                   " }\ninbound: { spi: 257, suite: aes-192-gcm, key: " + kKeyB.substr(0, 56) + " }\n";
    EXPECT_EQ(errors(write(short_keys)), "");
}

TEST_F(SaFileTest, EverySuiteHasItsKeys) {
    for (const SuiteInfo& suite : kSuites) {
        const auto sa = [&](const char* digit, const char* other) {
            std::string out = "{ spi: 0x1001, suite: " + std::string{suite.name} + ", key: ";
            for (std::size_t i = 0; i < suite.key_len + suite.salt_len; ++i) {
                out += digit;
            }
            out += suite.auth_key_len != 0 ? ", integrity-key: " : "";
            for (std::size_t i = 0; i < suite.auth_key_len; ++i) {
                out += other;
            }
            return out + " }\n";
        };
        const auto file = load_sa_file(
            write("extended-sequence-numbers: true\noutbound: " + sa("a1", "b2") + "inbound: " + sa("c3", "d4")));
        ASSERT_TRUE(file) << suite.name << ' ' << to_string(file.error().at(0));
        EXPECT_EQ(file->outbound.suite, suite.id);
        EXPECT_EQ(file->outbound.width, SequenceWidth::bits64);
        EXPECT_EQ(file->inbound.width, SequenceWidth::bits64);
        ASSERT_EQ(file->outbound.keymat.size(), keymat_len(suite.id));
        const std::size_t first = suite.key_len + suite.salt_len;  // RFC 7296 section 2.17: the integrity key is last
        for (std::size_t i = 0; i < keymat_len(suite.id); ++i) {
            EXPECT_EQ(file->outbound.keymat.data()[i], i < first ? 0xa1 : 0xb2) << suite.name << ' ' << i;
        }
    }
}

TEST_F(SaFileTest, IntegrityKeysBelongToCbcAlone) {
    const std::string half = kKeyA.substr(0, 64);
    const auto with = [&](const std::string& sa) {
        return "outbound: { spi: 256, " + sa + " }\ninbound: { spi: 257, suite: aes-256-gcm, key: " + kKeyB + " }\n";
    };
    EXPECT_EQ(errors(write(with("suite: aes-256-cbc-hmac-sha256, key: " + half))),
              "t.sa.yaml:1:11: found no key 'integrity-key', expected 64 hex digits: the integrity key of "
              "aes-256-cbc-hmac-sha256");
    EXPECT_EQ(errors(write(with("suite: aes-256-cbc-hmac-sha1, key: " + half + ", integrity-key: " + half))),
              "t.sa.yaml:1:139: found 64 hex digits, expected 40 hex digits: the integrity key of "
              "aes-256-cbc-hmac-sha1");
    EXPECT_EQ(errors(write(with("suite: aes-256-gcm, key: " + kKeyA + ", integrity-key: " + half))),
              "t.sa.yaml:1:137: found an integrity key, expected none with aes-256-gcm: its key does both");
}

TEST_F(SaFileTest, AesGcmHasThreeLengthsOfItsCheckValue) {
    const auto with = [&](const std::string& suite, const char* icv) {
        return "outbound: { spi: 256, icv: " + std::string{icv} + ", suite: " + suite + ", key: " + kKeyA +
               " }\ninbound: { spi: 257, suite: aes-256-gcm, key: " + kKeyB + " }\n";
    };
    for (const auto& [text, length] : {std::pair{"8", 8u}, {"12", 12u}, {"16", 16u}}) {
        const auto file = load_sa_file(write(with("aes-256-gcm", text)));
        ASSERT_TRUE(file) << to_string(file.error().at(0));
        EXPECT_EQ(file->outbound.icv_len, length);
        EXPECT_EQ(file->inbound.icv_len, 0u) << "the suite's own";
    }
    for (const char* wrong : {"0", "4", "15", "17", "32"}) {
        EXPECT_EQ(errors(write(with("aes-256-gcm", wrong))),
                  "t.sa.yaml:1:28: found '" + std::string{wrong} + "', expected an ICV of 8, 12 or 16 bytes");
    }
    EXPECT_EQ(errors(write(with("chacha20-poly1305", "12"))),
              "t.sa.yaml:1:28: found '12', expected an ICV of 16 bytes with chacha20-poly1305");
}

TEST_F(SaFileTest, BrokenSuitesAreRefusedWithTheirAlternative) {
    const std::pair<const char*, const char*> rows[] = {{"3des-cbc", "3DES is broken"},
                                                        {"3DES-CBC-HMAC-SHA256", "3DES is broken"},
                                                        {"des-cbc-hmac-sha1", "DES is broken"},
                                                        {"aes-128-cbc-hmac-md5", "MD5 is broken"},
                                                        {"null-hmac-sha256", "null encryption protects nothing"}};
    for (const auto& [suite, why] : rows) {
        const std::string text = "outbound: { spi: 256, suite: " + std::string{suite} + ", key: " + kKeyA +
                                 " }\ninbound: { spi: 257, suite: aes-256-gcm, key: " + kKeyB + " }\n";
        EXPECT_EQ(errors(write(text)), "t.sa.yaml:1:30: found '" + std::string{suite} +
                                           "', expected a suite that protects: " + why +
                                           ": use aes-256-gcm or aes-256-cbc-hmac-sha256");
    }
}

TEST_F(SaFileTest, RefusesOneKeyInBothDirections) {
    std::string upper = kKeyA;
    std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    EXPECT_EQ(
        errors(write(text(kKeyA, upper))),
        "t.sa.yaml:2:11: found the key of outbound again, expected another: one key in both directions repeats IVs");
}

// Keys in places where they do not belong: the parser sees none of them, so nothing that it says holds one.
TEST_F(SaFileTest, NeverTellsAKey) {
    const std::string places[] = {
        "key:" + kKeyA + "\n",
        kKeyA + ": 1\n",
        "outbound: " + kKeyA + "\ninbound: [" + kKeyA + "\n",
        text(kKeyA + "zz", kKeyB),
        text(kKeyA, kKeyB, kKeyA),
        "outbound: { spi: 0x1001, suite: " + kKeyA + ", " + kKeyA + ": 1 }\ninbound: {}\n",
    };
    for (const std::string& place : places) {
        const auto path = write(place);
        const std::string said = errors(path);
        EXPECT_NE(said, "") << place;
        for (std::size_t i = 0; i + 16 <= kKeyA.size(); ++i) {
            EXPECT_EQ(said.find(kKeyA.substr(i, 16)), std::string::npos) << said;
        }
        const auto secrets = SecretText::read(path);
        ASSERT_TRUE(secrets);
        EXPECT_EQ(secrets->text().size(), place.size());
        EXPECT_EQ(secrets->text().find(kKeyA.substr(0, 16)), std::string::npos);
    }
}

TEST_F(SaFileTest, RefusesWhatTunnelsMustNotShare) {
    Config config;
    config.tunnels.resize(2);
    config.tunnels[0].name = "azure-0";
    config.tunnels[0].sa_file = write(text(kKeyA, kKeyB), 0600, "0");
    config.tunnels[1].name = "azure-1";
    config.tunnels[1].sa_file = write(text(kKeyB, std::string(kKeyA).replace(0, 1, "1")), 0600, "1");
    const auto files = load_sa_files(config);
    ASSERT_FALSE(files);
    ASSERT_EQ(files.error().size(), 2u);
    EXPECT_EQ(files.error()[0].message, "found inbound SPI 8193 of tunnel 'azure-0' again, expected another");
    EXPECT_EQ(files.error()[1].message,
              "found a key of tunnel 'azure-0' again, expected another: one key in two SAs repeats IVs");
}

TEST_F(SaFileTest, CheckCommandLooksIntoSaFiles) {
    std::filesystem::copy_file(source_path("tests/vectors/config/azgw.yaml"), folder_ / "c.yaml");
    write(text(kKeyA, kKeyB), 0600, "onprem-0.sa.yaml");
    const std::string second = std::string{"outbound: { spi: 0x1002, suite: aes-128-gcm, key: "} + kKeyA.substr(1, 40) +
                               " }\ninbound: { spi: 0x2002, suite: aes-128-gcm, key: " + kKeyB.substr(1, 40) + " }\n";
    const auto path = write(second, 0644, "onprem-1.sa.yaml");
    std::ostringstream refused, accepted;
    EXPECT_EQ(check_command(folder_ / "c.yaml", refused), 2);
    EXPECT_NE(refused.str().find("chmod 0600"), std::string::npos) << refused.str();
    ASSERT_EQ(chmod(path.c_str(), 0400), 0);
    EXPECT_EQ(check_command(folder_ / "c.yaml", accepted), 0);
    EXPECT_EQ(accepted.str(), (folder_ / "c.yaml").string() + ": valid: 2 ports, 2 legs, 0 pools, 2 tunnels\n");
}

}  // namespace
}  // namespace twinspan

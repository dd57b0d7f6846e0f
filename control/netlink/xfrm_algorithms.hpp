// The algorithms and keys of one XFRM SA, which Linux spreads over several attributes. Safe on any bytes.
#pragma once

#include "control/netlink/attributes.hpp"
#include "control/netlink/xfrm_types.hpp"

namespace twinspan::netlink {

class AlgorithmReader {
public:
    // One of the XFRMA_ALG_ attributes, in any order. Error: a length that lies.
    Result<void> read(const Attribute& attribute);
    // After all attributes.
    SaAlgorithms finish();

private:
    Result<void> read_aead(const Attribute& attribute);
    Result<void> read_cipher(const Attribute& attribute);
    template <class T>
    Result<void> read_integrity(const Attribute& attribute);

    SaAlgorithms out_;
    SecretBytes cipher_key_;
    SecretBytes integrity_key_;
    bool length_known_ = false;  // XFRMA_ALG_AUTH_TRUNC was there: it tells how much of the digest is sent
};

}  // namespace twinspan::netlink

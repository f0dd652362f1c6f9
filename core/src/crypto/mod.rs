//! Field encryption, hash chains, token hashes.

//! Which shard a packet belongs to, written into our own connection ids.
//!
//! Several sockets share one UDP port. A small program in the kernel reads the first byte of the destination
//! connection id of each packet and picks socket `byte % shards`; every connection id that a shard hands out carries
//! its index there. A client that changes its address therefore still reaches the shard that knows it.

use std::{convert::Infallible, fmt};

use rand::RngCore;
use s2n_quic::provider::{
    connection_id::{ConnectionInfo, Generator, LocalId, Validator},
    stateless_reset_token,
};
use s2n_quic_core::stateless_reset::token::Token;
use sha2::{Digest, Sha256};

/// Most shards one port can have: the index must fit the byte that the kernel looks at.
pub const MAX_SHARDS: usize = 256;

/// Length of the connection ids we hand out (bytes).
const ID_LEN: usize = 16;

/// One shard's place among those that share a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    index: u8,
    count: u16,
}

impl ShardIndex {
    /// The only shard of its port, as for a client.
    pub const SOLE: Self = Self { index: 0, count: 1 };

    /// Place `index` among `count`; none when `index >= count` or there are more than [`MAX_SHARDS`].
    #[must_use]
    pub fn new(index: usize, count: usize) -> Option<Self> {
        if index >= count || count > MAX_SHARDS {
            return None;
        }
        Some(Self {
            index: u8::try_from(index).ok()?,
            count: u16::try_from(count).ok()?,
        })
    }

    /// This shard's number, from zero.
    #[must_use]
    pub fn index(self) -> usize {
        self.index.into()
    }

    /// How many shards share the port.
    #[must_use]
    pub fn count(self) -> usize {
        self.count.into()
    }

    /// The byte nearest to `random` that steers to this shard.
    fn mark(self, random: u8) -> u8 {
        let start = u16::from(random) - u16::from(random) % self.count;
        let marked = start + u16::from(self.index);
        u8::try_from(marked).unwrap_or_else(|_| u8::try_from(marked - self.count).unwrap_or(self.index))
    }
}

/// Connection ids of one shard: 16 random bytes whose first one names the shard.
#[derive(Debug)]
pub(super) struct ShardIds(pub(super) ShardIndex);

impl Generator for ShardIds {
    fn generate(&mut self, _: &ConnectionInfo<'_>) -> LocalId {
        let mut id = [0; ID_LEN];
        rand::rng().fill_bytes(&mut id);
        let [first, ..] = &mut id;
        *first = self.0.mark(*first);
        // Sixteen bytes are within the bounds of a connection id; the other arm is never taken.
        LocalId::try_from_bytes(&id).unwrap_or_else(|| LocalId::from([0; 20]))
    }
}

impl Validator for ShardIds {
    fn validate(&self, _: &ConnectionInfo<'_>, buffer: &[u8]) -> Option<usize> {
        (buffer.len() >= ID_LEN).then_some(ID_LEN)
    }
}

/// The secret behind stateless resets. All shards of a relay share one, so that a packet which reaches the wrong
/// shard, or a shard that was restarted, is answered with a reset the client believes. RFC 9000 §10.3.2.
#[derive(Clone, PartialEq, Eq)]
pub struct ResetKey([u8; 32]);

impl ResetKey {
    /// A fresh random key.
    #[must_use]
    pub fn random() -> Self {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        Self(key)
    }

    /// A key kept from an earlier run; its connections then learn at once that the relay was restarted.
    #[must_use]
    pub const fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The key of a relay that has this `secret`, such as its TLS private key, and runs at this `place`: the same after
    /// each restart there, without anything being kept. RFC 9000 §10.3.2
    ///
    /// Relays that share a secret must not share the key: a packet of a connection to one of them, sent to another, would
    /// bring the attacker the token that ends it. RFC 9000 §21.11
    #[must_use]
    pub fn derived(secret: &[u8], place: &[u8]) -> Self {
        // HKDF-Extract and one block of HKDF-Expand (RFC 5869): the label keeps it apart from all else that the secret
        // is used for.
        let extracted = hmac(b"laps stateless reset", &[secret]);
        Self(extracted).at(place)
    }

    /// The key of one place among several that have this one.
    pub(super) fn at(&self, place: &[u8]) -> Self {
        Self(hmac(&self.0, &[place, &[1]]))
    }
}

/// HMAC-SHA-256 (RFC 2104) of the parts one after the other, under a key of at most 64 bytes.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        for (place, key) in block.iter_mut().zip(key) {
            *place ^= key;
        }
        block
    };
    let mut inner = Sha256::new().chain_update(pad(0x36));
    for part in parts {
        inner.update(part);
    }
    let outer = Sha256::new().chain_update(pad(0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey(..)")
    }
}

impl stateless_reset_token::Generator for ResetKey {
    fn generate(&mut self, local_connection_id: &[u8]) -> Token {
        // Cut to the token's 16 bytes.
        let outer = hmac(&self.0, &[local_connection_id]);
        let (token, _) = outer.split_at(16);
        Token::try_from(token).unwrap_or(Token::ZEROED)
    }
}

impl stateless_reset_token::Provider for ResetKey {
    type Generator = Self;
    type Error = Infallible;

    fn start(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}

/// Attaches the steering program to the group of sockets that share a port; any member will do.
#[cfg(target_os = "linux")]
pub(super) fn attach(socket: &socket2::Socket, shards: u16) -> std::io::Result<()> {
    use nix::{
        libc::{
            BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_JA, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_MOD, BPF_RET,
            sock_filter, sock_fprog,
        },
        sys::socket::{setsockopt, sockopt::AttachReusePortCbpf},
    };

    let op = |code: u32, jt: u8, jf: u8, k: u32| sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt,
        jf,
        k,
    };
    // RFC 8999 §5: a long header has its first bit set, its destination connection id starts at byte 6; that of a
    // short header starts at byte 1. Offsets count from the UDP payload.
    let mut program = [
        op(BPF_LD | BPF_B | BPF_ABS, 0, 0, 0),
        op(BPF_JMP | BPF_JSET | BPF_K, 0, 2, 0x80),
        op(BPF_LD | BPF_B | BPF_ABS, 0, 0, 6),
        op(BPF_JMP | BPF_JA, 0, 0, 1),
        op(BPF_LD | BPF_B | BPF_ABS, 0, 0, 1),
        op(BPF_ALU | BPF_MOD | BPF_K, 0, 0, u32::from(shards)),
        op(BPF_RET | BPF_A, 0, 0, 0),
    ];
    let len = u16::try_from(program.len()).map_err(std::io::Error::other)?;
    let program = sock_fprog {
        len,
        filter: program.as_mut_ptr(),
    };
    setsockopt(socket, AttachReusePortCbpf, &program).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use s2n_quic::provider::stateless_reset_token::Generator as _;

    use super::*;

    proptest! {
        #[test]
        fn every_marked_byte_steers_to_its_shard(random: u8, count in 1..=MAX_SHARDS, pick: prop::sample::Index) {
            let index = pick.index(count);
            let shard = ShardIndex::new(index, count).unwrap();
            prop_assert_eq!(usize::from(shard.mark(random)) % count, index);
        }
    }

    #[test]
    fn a_place_outside_the_group_does_not_exist() {
        assert_eq!(ShardIndex::new(2, 2), None);
        assert_eq!(ShardIndex::new(0, 0), None);
        assert_eq!(ShardIndex::new(0, 257), None);
    }

    #[test]
    fn tokens_depend_on_key_and_id_alone() {
        let mut key = ResetKey::from_bytes([7; 32]);
        assert_eq!(key.generate(b"one"), key.clone().generate(b"one"));
        assert_ne!(key.generate(b"one"), key.generate(b"two"));
        assert_ne!(
            key.generate(b"one"),
            ResetKey::from_bytes([8; 32]).generate(b"one")
        );
    }

    #[test]
    fn a_derived_key_is_that_of_its_secret_and_place() {
        let key = |secret: &[u8], place: &[u8]| ResetKey::derived(secret, place).generate(b"id");
        assert_eq!(key(b"secret", b"here"), key(b"secret", b"here"));
        assert_ne!(key(b"secret", b"here"), key(b"secret", b"there"));
        assert_ne!(key(b"secret", b"here"), key(b"other", b"here"));
    }

    #[test]
    fn the_token_is_a_cut_hmac() {
        // RFC 4231 test case 2 has a 4-byte key; padded with zeros it is the same HMAC key.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let token = ResetKey::from_bytes(key).generate(b"what do ya want for nothing?");
        assert_eq!(token.into_inner()[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }
}

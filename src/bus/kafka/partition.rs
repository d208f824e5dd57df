//! Which partition a thread belongs to.

/// The partition, of `count`, of all that shares `thread`: murmur2 as Kafka's own clients take it of a key, so
/// that somebody else's producer can send a conversation to the same one. It changes with `count`.
pub(super) fn partition(thread: &str, count: i32) -> i32 {
    let positive = murmur2(thread.as_bytes()) & 0x7fff_ffff;
    i32::try_from(positive % u32::try_from(count.max(1)).unwrap_or(1)).unwrap_or(0)
}

fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    // A key has far less than 4 GiB.
    let mut hash = 0x9747_b28c ^ u32::try_from(bytes.len()).unwrap_or(0);
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(M) ^ mixed.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_of_kafkas_own_clients() {
        // From the tests of Kafka's Java client.
        for (key, hash) in [("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn threads_spread_evenly_and_stay_where_they_are() {
        let mut counts = [0; 12];
        for number in 0..12_000 {
            counts[partition(&format!("x:x.com/{number}"), 12) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert_eq!(partition("x:x.com/1", 12), partition("x:x.com/1", 12));
        assert_eq!(partition("anything", 1), 0);
    }
}

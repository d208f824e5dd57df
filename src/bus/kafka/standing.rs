//! Where a consumer goes on, by what the store holds and what the topic has: the policy, in one place.

use crate::mention::Mark;

/// Where to read on, and what there is to say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Where the store stands.
    Goes(i64),
    /// Nothing of this partition was ever stored: from its beginning.
    New(i64),
    /// The store stands in another log: this one is read from its beginning.
    Recreated(i64),
    /// What comes next is gone: from the oldest record, so many later.
    Expired(i64, u64),
    /// The store has seen records that the topic has lost: all is read again, which changes nothing that is
    /// stored already.
    PastTheEnd(i64),
}

impl Standing {
    /// What `mark` means in a partition of the topic `id` that has the records from `low` up to `high`.
    pub(super) fn of(mark: &Mark, id: &str, low: i64, high: i64) -> Standing {
        if mark.log.is_empty() && mark.next == 0 {
            Standing::New(low)
        } else if *mark.log != *id {
            Standing::Recreated(low)
        } else if mark.next < low {
            Standing::Expired(low, u64::try_from(low - mark.next).unwrap_or(0))
        } else if mark.next > high {
            Standing::PastTheEnd(low)
        } else {
            Standing::Goes(mark.next)
        }
    }

    /// The offset of the next record.
    pub(super) fn position(self) -> i64 {
        match self {
            Standing::Goes(at)
            | Standing::New(at)
            | Standing::Recreated(at)
            | Standing::Expired(at, _)
            | Standing::PastTheEnd(at) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_what_the_documents_say() {
        let of = |log: &str, next| Standing::of(&Mark { log: log.into(), next }, "topic", 10, 20);
        assert_eq!(of("", 0), Standing::New(10));
        for next in [10, 15, 20] {
            assert_eq!(of("topic", next), Standing::Goes(next));
        }
        assert_eq!(of("topic", 7), Standing::Expired(10, 3));
        assert_eq!(of("topic", 21), Standing::PastTheEnd(10));
        for next in [0, 15, 99] {
            assert_eq!(of("older", next), Standing::Recreated(10));
        }
        assert_eq!(of("", 15), Standing::Recreated(10), "the embedded log, before a move to Kafka");
    }
}

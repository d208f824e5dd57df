//! What is written to the file that a connector reads, and what must be true of it at the end.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::Write,
    path::Path,
    time::Duration,
};

use moksori::clock::Time;
use serde_json::json;

use super::check::SOURCE;

/// Posts that share a word, by which the index is asked for all of them at once.
pub const BLOCK: usize = 500;

/// Random numbers that a seed repeats (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// One post as it should be known in the end.
pub struct Post {
    /// Which post opened its thread; each thread has an author of its own.
    pub opener: usize,
    /// A complaint makes a case or joins one; praise is folded.
    pub complaint: bool,
    pub posted_at: Time,
    /// It has a row: nobody deleted it before it came.
    pub kept: bool,
    /// Its author deleted it later.
    pub deleted: bool,
    pub edited: bool,
    /// Its place among the lines: within a thread posts keep their order.
    pub told: usize,
}

impl Post {
    /// It can be read and found.
    pub fn alive(&self) -> bool {
        self.kept && !self.deleted
    }
}

/// The word that only this post has.
pub fn token(number: usize) -> String {
    format!("kz{number:07}q")
}

/// The word that only its edited text has, besides [`edited_word`].
pub fn edited_token(number: usize) -> String {
    format!("ky{number:07}q")
}

/// The word that all posts of a block have.
pub fn block_word(block: usize) -> String {
    format!("kb{block:05}q")
}

/// The word that all edited posts of a block have.
pub fn edited_word(block: usize) -> String {
    format!("ke{block:05}q")
}

/// The word that every post has.
pub const EVERY: &str = "kall";

/// Which post a text is of.
pub fn number_in(text: &str) -> Option<usize> {
    let start = text.find("kz")? + 2;
    text.get(start..start + 7)?.parse().ok()
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Post,
    Edit,
    Delete,
}

/// How unruly the lines are, in percent of the posts.
#[derive(Clone, Copy)]
pub struct Unruly {
    pub doubled: u64,
    /// How often a doubled post comes besides its first time.
    pub times: usize,
    pub swapped: u64,
    pub edited: u64,
    pub deleted: u64,
    /// How old the older posts are at most; some run out of time at once.
    pub age: Duration,
}

/// A post in twenty is told twice, a line in ten comes out of order.
pub const USUAL: Unruly =
    Unruly { doubled: 5, times: 1, swapped: 10, edited: 1, deleted: 1, age: Duration::from_millis(840_000) };

/// All posts, and the lines that tell of them in their order.
pub struct Ledger {
    pub posts: Vec<Post>,
    told: VecDeque<(usize, What)>,
    file: File,
    torn: Option<String>,
    pub written: u64,
    /// The last post that was written whole.
    pub last: Option<usize>,
}

impl Ledger {
    /// Makes the posts and the order of their lines.
    pub fn new(path: &Path, count: usize, unruly: Unruly, dice: &mut Dice, now: Time) -> Ledger {
        // One more, that comes last.
        let mut posts: Vec<Post> = (0..=count).map(|number| post(number, count, unruly, dice, now)).collect();
        let mut told = Vec::with_capacity(count * 11 / 10);
        for number in 0..count {
            let (edit, delete) = (dice.below(100) < unruly.edited, dice.below(100) < unruly.deleted);
            // Half of them come before what they are about.
            let (edit_first, delete_first) = (edit && dice.below(2) == 0, delete && dice.below(2) == 0);
            told.extend(edit_first.then_some((number, What::Edit)));
            told.extend(delete_first.then_some((number, What::Delete)));
            told.push((number, What::Post));
            told.extend((edit && !edit_first).then_some((number, What::Edit)));
            if dice.below(100) < unruly.doubled {
                told.extend(std::iter::repeat_n((number, What::Post), unruly.times));
            }
            told.extend((delete && !delete_first).then_some((number, What::Delete)));
        }
        let last = told.len().saturating_sub(1);
        for at in 0..told.len() {
            if dice.below(100) < unruly.swapped {
                told.swap(at, (at + 1 + dice.below(60) as usize).min(last));
            }
        }
        told.push((count, What::Post));
        let mut known: HashMap<usize, What> = HashMap::new();
        for (place, (number, what)) in told.iter().enumerate() {
            let post = &mut posts[*number];
            let first = *known.entry(*number).or_insert_with(|| {
                post.told = place;
                *what
            });
            post.kept = first != What::Delete;
            post.deleted |= *what == What::Delete;
            post.edited |= *what == What::Edit;
        }
        Ledger { posts, told: told.into(), file: File::create(path).unwrap(), torn: None, written: 0, last: None }
    }

    /// Lines that are not written yet.
    pub fn left(&self) -> usize {
        self.told.len()
    }

    /// The post that comes last.
    pub fn last_token(&self) -> String {
        token(self.posts.len() - 1)
    }

    /// How many posts can be found in the end.
    pub fn alive(&self) -> usize {
        self.posts.iter().filter(|post| post.alive()).count()
    }

    /// Keeps every `nth` post back that is told only once: the connector never sees it. Returns their numbers.
    pub fn withhold(&mut self, nth: usize) -> Vec<usize> {
        let mut times: HashMap<usize, usize> = HashMap::new();
        self.told.iter().for_each(|(number, _)| *times.entry(*number).or_default() += 1);
        let last = self.posts.len() - 1;
        let held = |number: usize| number != last && number.is_multiple_of(nth) && times[&number] == 1;
        self.told.retain(|(number, _)| !held(*number));
        let held: Vec<usize> = (0..last).filter(|number| held(*number)).collect();
        for number in &held {
            // They come when all others are there.
            self.posts[*number].told += usize::MAX / 2;
        }
        held
    }

    /// A post as it stands on the bus.
    pub fn envelope(&self, number: usize) -> Vec<u8> {
        let post = &self.posts[number];
        let line: serde_json::Value = serde_json::from_str(&line(number, post, What::Post)).unwrap();
        let author = json!({ "native_id": line["author"], "handle": line["author"] });
        let envelope = json!({
            "v": 1, "source": SOURCE, "native_id": line["id"], "conversation": line["thread"], "author": author,
            "text": line["text"], "lang": "ko", "posted_at": post.posted_at, "time_quality": "exact",
            "first_seen_at": post.posted_at, "matched": [{ "brand": "shop", "account": "shop-file", "addressed": true }],
        });
        envelope.to_string().into_bytes()
    }

    /// Appends so many lines; sometimes the last of them is torn and its rest comes with the next.
    pub fn write(&mut self, count: usize, dice: &mut Dice) {
        let mut text = self.torn.take().unwrap_or_default();
        let count = count.min(self.told.len());
        for (number, what) in self.told.drain(..count) {
            text.push_str(&line(number, &self.posts[number], what));
            self.last = Some(number).filter(|_| what == What::Post).or(self.last);
        }
        if !self.told.is_empty() && text.len() > 100 && dice.below(4) == 0 {
            let mut cut = text.len() - 60;
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            self.torn = Some(text.split_off(cut));
        }
        self.file.write_all(text.as_bytes()).unwrap();
        self.written += text.len() as u64;
    }

    /// Writes the rest of a torn line.
    pub fn mend(&mut self) {
        let text = self.torn.take().unwrap_or_default();
        self.file.write_all(text.as_bytes()).unwrap();
        self.written += text.len() as u64;
    }

    /// Writes all that is left.
    pub fn write_rest(&mut self, dice: &mut Dice) {
        while !self.told.is_empty() || self.torn.is_some() {
            self.write(10_000, dice);
        }
    }

    /// The author of every case that must be there, with how many posts it holds.
    pub fn cases(&self) -> HashMap<String, usize> {
        let mut cases = HashMap::new();
        for post in self.posts.iter().filter(|post| post.kept && post.complaint) {
            *cases.entry(author(post.opener)).or_insert(0) += 1;
        }
        cases
    }
}

fn author(opener: usize) -> String {
    format!("a{opener}")
}

/// Of twenty posts thirteen open threads, four follow them up, three are praise.
fn post(number: usize, count: usize, unruly: Unruly, dice: &mut Dice, now: Time) -> Post {
    let place = if number == count { 19 } else { number % 20 };
    let opener = if (13..17).contains(&place) { number - place + dice.below(13) as usize } else { number };
    // Most are fresh; some are so old that their clocks run out at once, or meanwhile.
    let age = if dice.below(5) == 0 { dice.below(unruly.age.as_millis() as u64) } else { dice.below(30_000) };
    let posted_at = now.minus(Duration::from_millis(age));
    Post { opener, complaint: place < 17, posted_at, kept: true, deleted: false, edited: false, told: 0 }
}

fn line(number: usize, post: &Post, what: What) -> String {
    let words = format!("{} {} {EVERY}", token(number), block_word(number / BLOCK));
    let mut text = match (post.complaint, post.opener == number) {
        (true, true) => format!("주문한 지 열흘인데 배송이 아직도 안 와요. {words} 고객센터는 전화도 안 받네요"),
        (true, false) => format!("환불 신청한 지 3주인데 처리가 안 됩니다 {words}"),
        (false, _) => format!("고구마 진짜 맛있어요 {words}"),
    };
    let mut line = json!({
        "id": number.to_string(), "author": author(post.opener), "thread": format!("t{}", post.opener),
        "posted_at": post.posted_at.to_string(), "lang": "ko",
    });
    match what {
        What::Post => line["text"] = text.into(),
        What::Edit => {
            text.push_str(&format!(" {} {}", edited_token(number), edited_word(number / BLOCK)));
            line["text"] = text.into();
            line["edited_at"] = post.posted_at.plus(Duration::from_secs(5)).to_string().into();
        }
        What::Delete => line["op"] = "delete".into(),
    }
    format!("{line}\n")
}

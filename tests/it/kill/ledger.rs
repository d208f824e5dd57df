//! What the replay writes to the file that a connector reads, and what must be true of it at the end.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::Write,
    path::Path,
    time::Duration,
};

use moksori::clock::Time;
use serde_json::json;

/// Unique posts of the replay.
pub const POSTS: usize = 20_000;

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
}

/// The word that only this post has.
pub fn token(number: usize) -> String {
    format!("kz{number:05}q")
}

/// The word that only its edited text has.
pub fn edited_token(number: usize) -> String {
    format!("ky{number:05}q")
}

/// Which post a text is of.
pub fn number_in(text: &str) -> Option<usize> {
    let start = text.find("kz")? + 2;
    text.get(start..start + 5)?.parse().ok()
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Post,
    Edit,
    Delete,
}

/// All posts, and the lines that tell of them in their order.
pub struct Ledger {
    pub posts: Vec<Post>,
    pub lines: VecDeque<String>,
    file: File,
    torn: Option<String>,
    pub written: u64,
}

impl Ledger {
    /// Makes the posts and their lines: a post in twenty is told twice, a line in ten comes out of order.
    pub fn new(path: &Path, dice: &mut Dice, now: Time) -> Ledger {
        // One more, that comes last.
        let mut posts: Vec<Post> = (0..=POSTS).map(|number| post(number, dice, now)).collect();
        let mut told = Vec::with_capacity(POSTS * 11 / 10);
        for number in 0..POSTS {
            let lot = dice.below(2_000);
            let (edit, delete) = (lot % 100 == 1, lot % 250 == 2);
            let first = match lot % 2 {
                1 if edit => Some(What::Edit),
                0 if delete && lot % 500 == 2 => Some(What::Delete),
                _ => None,
            };
            told.extend(first.map(|what| (number, what)));
            told.push((number, What::Post));
            if edit && dice.below(2) == 0 {
                told.push((number, What::Edit));
            }
            if dice.below(20) == 0 {
                told.push((number, What::Post));
            }
            if delete && first.is_none() {
                told.push((number, What::Delete));
            }
        }
        for at in 0..told.len() {
            if dice.below(10) == 0 {
                told.swap(at, (at + 1 + dice.below(60) as usize).min(POSTS - 1));
            }
        }
        told.push((POSTS, What::Post));
        let mut known: HashMap<usize, What> = HashMap::new();
        for (number, what) in &told {
            let post = &mut posts[*number];
            let first = *known.entry(*number).or_insert(*what);
            post.kept = first != What::Delete;
            post.deleted |= *what == What::Delete;
            post.edited |= *what == What::Edit;
        }
        let lines = told.iter().map(|(number, what)| line(*number, &posts[*number], *what)).collect();
        Ledger { posts, lines, file: File::create(path).unwrap(), torn: None, written: 0 }
    }

    /// Appends so many lines; sometimes the last of them is torn and its rest comes with the next.
    pub fn write(&mut self, count: usize, dice: &mut Dice) {
        let mut text = self.torn.take().unwrap_or_default();
        for line in self.lines.drain(..count.min(self.lines.len())) {
            text.push_str(&line);
        }
        if !self.lines.is_empty() && text.len() > 100 && dice.below(4) == 0 {
            let mut cut = text.len() - 60;
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            self.torn = Some(text.split_off(cut));
        }
        self.file.write_all(text.as_bytes()).unwrap();
        self.written += text.len() as u64;
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
fn post(number: usize, dice: &mut Dice, now: Time) -> Post {
    let place = if number == POSTS { 19 } else { number % 20 };
    let opener = if (13..17).contains(&place) { number - place + dice.below(13) as usize } else { number };
    // Most are fresh; some are so old that their clocks run out at once, or meanwhile.
    let age = if dice.below(5) == 0 { dice.below(840_000) } else { dice.below(30_000) };
    Post {
        opener,
        complaint: place < 17,
        posted_at: now.minus(Duration::from_millis(age)),
        kept: true,
        deleted: false,
        edited: false,
    }
}

fn line(number: usize, post: &Post, what: What) -> String {
    let token = token(number);
    let mut text = match (post.complaint, post.opener == number) {
        (true, true) => format!("주문한 지 열흘인데 배송이 아직도 안 와요. {token} 고객센터는 전화도 안 받네요"),
        (true, false) => format!("환불 신청한 지 3주인데 처리가 안 됩니다 {token}"),
        (false, _) => format!("고구마 진짜 맛있어요 {token}"),
    };
    let mut line = json!({
        "id": number.to_string(), "author": author(post.opener), "thread": format!("t{}", post.opener),
        "posted_at": post.posted_at.to_string(), "lang": "ko",
    });
    match what {
        What::Post => line["text"] = text.into(),
        What::Edit => {
            text.push(' ');
            text.push_str(&edited_token(number));
            line["text"] = text.into();
            line["edited_at"] = post.posted_at.plus(Duration::from_secs(5)).to_string().into();
        }
        What::Delete => line["op"] = "delete".into(),
    }
    format!("{line}\n")
}

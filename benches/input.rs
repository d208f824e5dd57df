//! What the bench feeds: mentions of a file in the peers' format, or its own, as envelopes on the disk.
//!
//! They lie ready before anything is measured, so that neither time nor memory of making them counts.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use moksori::{
    clock::{Clock, Time},
    mention::{Author, Envelope, Match, Side, TimeQuality},
};
use serde::Deserialize;

/// Envelopes, one a line.
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    pub(crate) lines: usize,
    /// Lines but for those that came before, word for word.
    pub(crate) unique: usize,
}

/// A line of the peers' file.
#[derive(Clone, Deserialize)]
struct Line {
    id: String,
    source: String,
    author: String,
    created_at: i64,
    url: String,
    text: String,
}

/// The word that only mention `index` has.
pub(crate) fn marker(index: usize) -> String {
    format!("zqmark{index}x")
}

/// Writes `count` mentions into `dir`. With `marked`, leaves redeliveries out and gives every so many a word of its own.
///
/// Times are moved so that all were posted within the last minute, in the same order: an older post would be
/// history, without clocks.
pub(crate) fn prepare(file: Option<&Path>, count: usize, marked: Option<usize>, dir: &Path) -> Result<Input> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("envelopes.jsonl");
    let mut out = BufWriter::new(File::create(&path)?);
    let now = Clock::System.now();
    let mut written = 0;
    let mut seen = HashSet::new();
    let mut first = None;
    for line in source(file)? {
        if written == count {
            break;
        }
        let line = line?;
        let new = seen.insert(line.id.clone());
        if !new && marked.is_some() {
            continue;
        }
        // Peers' times are some milliseconds apart, and minutes are what clocks count.
        let age = 60_000 - (line.created_at - *first.get_or_insert(line.created_at)) / 20;
        let mut envelope = envelope(line, Time(now.0 - age.max(0)));
        if marked.is_some_and(|every| written % every == 0) {
            envelope.text = format!("{} {}", envelope.text, marker(written));
        }
        serde_json::to_writer(&mut out, &envelope)?;
        out.write_all(b"\n")?;
        written += 1;
    }
    out.flush()?;
    ensure!(written == count, "the file has {written} mentions for this run, {count} are needed");
    Ok(Input { path, lines: count, unique: if marked.is_some() { count } else { seen.len() } })
}

fn envelope(line: Line, posted_at: Time) -> Envelope {
    Envelope {
        v: Envelope::VERSION,
        source: line.source,
        native_id: line.id,
        side: Side::Customer,
        author: Some(Author { native_id: line.author.clone(), handle: line.author, ..Author::default() }),
        text: line.text,
        url: Some(line.url),
        posted_at: Some(posted_at),
        time_quality: TimeQuality::Exact,
        first_seen_at: posted_at,
        matched: vec![Match { brand: "bench".into(), account: "bench".into(), addressed: true, query: None }],
        visibility: Some("public".into()),
        ..Envelope::default()
    }
}

fn source(file: Option<&Path>) -> Result<Box<dyn Iterator<Item = Result<Line>>>> {
    let Some(path) = file else { return Ok(Box::new(Generator::default().map(Ok))) };
    let lines = BufReader::new(File::open(path).with_context(|| format!("failed to open {}", path.display()))?).lines();
    let name = path.display().to_string();
    Ok(Box::new(lines.enumerate().map(move |(index, line)| {
        serde_json::from_str(&line?).with_context(|| format!("{name}:{}: not a mention as the peers write them", index + 1))
    })))
}

/// Writes the same mentions every time: a subject, what is wrong with it or wanted of it, a closing, some
/// words that hardly repeat. One in forty comes twice, one in forty is a copy by another author.
#[derive(Default)]
struct Generator {
    state: u64,
    written: i64,
    last: Option<Line>,
}

const SUBJECTS: [&str; 16] = [
    "주문한 우쿨렐레",
    "배송",
    "환불",
    "앱",
    "로그인",
    "고객센터 전화",
    "쿠폰",
    "교환 신청",
    "결제",
    "새 프라이팬",
    "적립금",
    "My order",
    "The refund",
    "Your app",
    "The charger",
    "Delivery",
];
const KOREAN: [&str; 10] = [
    "아직도 안 왔어요",
    "왜 이렇게 늦나요?",
    "오류가 계속 나요",
    "두 번 결제됐습니다",
    "언제 되나요?",
    "정말 좋네요",
    "기능을 추가해 주세요",
    "취소가 안 됩니다",
    "고장 났어요",
    "답변이 없어서 답답합니다",
];
const ENGLISH: [&str; 6] = [
    "has still not arrived",
    "keeps crashing",
    "was charged twice",
    "is broken, how do I return it?",
    "should support dark mode",
    "is great, thanks a lot",
];
const CLOSINGS: [&str; 8] = [
    "ㅠㅠ",
    "확인 부탁드려요",
    "빨리 처리해 주세요",
    "주문번호 BT180773129",
    "전화 010-1234-5678로 주세요",
    "",
    "please help",
    "ㅋㅋ",
];
const SYLLABLES: [&str; 24] = [
    "가", "나", "다", "라", "마", "바", "사", "아", "자", "차", "카", "타", "고", "노", "도", "로", "모", "보", "소", "오",
    "조", "초", "코", "토",
];

impl Generator {
    /// A number below `below`; a linear congruence, whose high bits are good enough for words.
    fn pick(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % below
    }

    fn text(&mut self) -> String {
        let subject = self.pick(SUBJECTS.len());
        let what = if subject < 11 { KOREAN[self.pick(KOREAN.len())] } else { ENGLISH[self.pick(ENGLISH.len())] };
        let mut text = format!("{} {what} {}", SUBJECTS[subject], CLOSINGS[self.pick(CLOSINGS.len())]);
        for _ in 0..4 + self.pick(8) {
            text.push(' ');
            for _ in 0..2 + self.pick(3) {
                text.push_str(SYLLABLES[self.pick(SYLLABLES.len())]);
            }
        }
        text
    }
}

impl Iterator for Generator {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        self.written += 1;
        let fate = self.pick(40);
        let line = match self.last.take().filter(|_| fate < 2) {
            Some(last) if fate == 0 => last,
            last => {
                let id = format!("bench-{}", self.written);
                // A few write much, many write once.
                let few = 1 + self.pick(16);
                Line {
                    url: format!("https://posts.example/{id}"),
                    id,
                    source: "bench:posts.example".into(),
                    author: format!("u{}", self.pick(20_000) / few),
                    created_at: 1_760_000_000_000 + self.written * 9,
                    text: last.map_or_else(|| self.text(), |last| last.text),
                }
            }
        };
        self.last = Some(line.clone());
        Some(line)
    }
}

//! The Korean lexicon inside the program, and the cheapest way to read a run of syllables by it.
//!
//! `lexicon.bin` is made from mecab-ko-dic (Apache-2.0) by `scripts/lexicon.py`: words with what they cost, and
//! what it costs that one kind of word follows another. [`Lattice`] weighs all readings of a run, so that a
//! match can be asked how much dearer the cheapest reading is in which it is a word.

use std::sync::LazyLock;

static BYTES: &[u8] = include_bytes!("lexicon.bin");
static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::read(BYTES));

/// Longer runs are read in pieces.
pub(super) const MAX_RUN: usize = 40;

/// The longest word of the lexicon.
const MAX_WORD: usize = 8;

/// What a word that is not in the lexicon costs.
const UNKNOWN: i32 = 628;

/// What any path costs at most; more than all of them.
const FAR: i32 = i32::MAX / 4;

/// The kinds of words that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unknown,
    Noun,
    /// Pronouns and numbers.
    Number,
    /// Nouns that do not stand alone: 것, 수.
    Bound,
    /// 들, 님, 적.
    Suffix,
    Prefix,
    /// A noun and what has melted into it: 거긴.
    NounAnd,
    /// The stem of a verb or adjective as dictionaries have it.
    Stem,
    /// A stem and what has melted into it: 갔, 비싼, 튕겨요.
    StemAnd,
    /// 하, 되 and 이 behind a noun, with what has melted into them.
    Derived,
    Ending,
    Particle,
    Adverb,
    Determiner,
    Other,
    /// The stem of an auxiliary verb.
    Auxiliary,
}

impl Kind {
    fn of(byte: u8) -> Kind {
        const ALL: [Kind; 16] = [
            Kind::Unknown,
            Kind::Noun,
            Kind::Number,
            Kind::Bound,
            Kind::Suffix,
            Kind::Prefix,
            Kind::NounAnd,
            Kind::Stem,
            Kind::StemAnd,
            Kind::Derived,
            Kind::Ending,
            Kind::Particle,
            Kind::Adverb,
            Kind::Determiner,
            Kind::Other,
            Kind::Auxiliary,
        ];
        ALL.get(usize::from(byte)).copied().unwrap_or(Kind::Other)
    }

    /// It names something.
    pub(super) fn nominal(self) -> bool {
        matches!(self, Kind::Unknown | Kind::Noun | Kind::Number | Kind::Bound | Kind::Suffix | Kind::Prefix)
    }

    /// It begins with the stem of a verb or adjective.
    pub(super) fn verbal(self) -> bool {
        matches!(self, Kind::Stem | Kind::StemAnd | Kind::Auxiliary)
    }
}

/// A word as the lexicon has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    left: u8,
    right: u8,
    cost: i32,
    pub(super) kind: Kind,
    /// Bit n: a part of the compound begins at its syllable n.
    parts: u8,
}

/// The lexicon: a trie in arrays, breadth first, so that the children of a node are neighbours.
pub(super) struct Lexicon {
    classes: usize,
    edge: (u8, u8),
    unknown: (u8, u8),
    costs: &'static [u8],
    labels: &'static [u8],
    children: &'static [u8],
    lists: &'static [u8],
    starts: &'static [u8],
    entries: &'static [u8],
}

fn u16_at(bytes: &[u8], index: usize) -> u16 {
    bytes.get(index * 2..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], index: usize) -> usize {
    let number = bytes.get(index * 4..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    number as usize
}

impl Lexicon {
    /// The one that ships with the program.
    pub(super) fn get() -> &'static Lexicon {
        &LEXICON
    }

    fn read(bytes: &'static [u8]) -> Lexicon {
        let number = |index| u32_at(bytes, index);
        let (classes, nodes, lists) = (number(1), number(2), number(3));
        let byte = |index: usize| bytes.get(index).copied().unwrap_or_default();
        let mut at = 24;
        let mut take = |length: usize| {
            let slice = bytes.get(at..at + length).unwrap_or_default();
            at += length;
            slice
        };
        Lexicon {
            classes,
            edge: (byte(20), byte(21)),
            unknown: (byte(22), byte(23)),
            costs: take(classes * classes * 2),
            labels: take(nodes * 2),
            children: take(nodes * 4 + 4),
            lists: take(nodes * 2),
            starts: take(lists * 4 + 4),
            entries: take(number(4) * 6),
        }
    }

    fn child(&self, node: usize, syllable: char) -> Option<usize> {
        let label = u16::try_from(u32::from(syllable)).ok()?;
        let (mut low, mut high) = (u32_at(self.children, node), u32_at(self.children, node + 1));
        while low < high {
            let middle = low.midpoint(high);
            match u16_at(self.labels, middle).cmp(&label) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }

    fn listed(&self, node: usize) -> impl Iterator<Item = Entry> {
        let list = usize::from(u16_at(self.lists, node));
        (u32_at(self.starts, list)..u32_at(self.starts, list + 1)).filter_map(|index| {
            let &[left, right, low, high, kind, parts] = self.entries.get(index * 6..)?.first_chunk()?;
            Some(Entry { left, right, cost: i32::from(i16::from_le_bytes([low, high])), kind: Kind::of(kind), parts })
        })
    }

    /// What the lexicon has under this spelling.
    pub(super) fn entries(&self, word: &[char]) -> impl Iterator<Item = Entry> {
        let node = word.iter().try_fold(0, |node, syllable| self.child(node, *syllable)).filter(|_| !word.is_empty());
        node.into_iter().flat_map(|node| self.listed(node))
    }

    /// A word of this kind has this spelling.
    pub(super) fn has(&self, word: &[char], wanted: impl Fn(Kind) -> bool) -> bool {
        self.entries(word).any(|entry| wanted(entry.kind))
    }

    fn cost(&self, right: u8, left: u8) -> i32 {
        i32::from(u16_at(self.costs, usize::from(right) * self.classes + usize::from(left)).cast_signed())
    }
}

/// A word somewhere in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Its first syllable.
    pub(super) from: usize,
    /// The syllable behind it.
    pub(super) to: usize,
    pub(super) entry: Entry,
    /// Of the cheapest path from the beginning to its end.
    before: i32,
    /// Of the cheapest path from its end to that of the run.
    after: i32,
}

impl Node {
    /// A part of the word, or the word itself, begins at this syllable.
    fn parted(&self, at: usize) -> bool {
        at == self.from || at == self.to || at > self.from && at < self.to && self.entry.parts >> (at - self.from) & 1 == 1
    }
}

/// All readings of a run of syllables, and the cheapest through each word.
pub(super) struct Lattice {
    nodes: Vec<Node>,
    best: i32,
    /// Bit n: 나, 하, 되, 없 or their like begin at syllable n, which make a verb of a noun.
    makes_verbs: u64,
}

impl Lattice {
    fn derives(&self, at: usize) -> bool {
        self.makes_verbs >> at & 1 == 1
    }

    /// Reads `run`, of at most [`MAX_RUN`] syllables. `guest` is a noun that the lexicon may not know.
    pub(super) fn new(run: &[char], guest: Option<(usize, usize)>) -> Lattice {
        let lexicon = Lexicon::get();
        let run = run.get(..MAX_RUN).unwrap_or(run);
        let mut nodes: Vec<Node> = Vec::with_capacity(run.len() * 12);
        for from in 0..run.len() {
            let mut add = |to, entry| nodes.push(Node { from, to, entry, before: FAR, after: FAR });
            let mut trie = 0;
            for to in from + 1..=run.len().min(from + MAX_WORD) {
                let Some(next) = lexicon.child(trie, run[to - 1]) else { break };
                lexicon.listed(next).for_each(|entry| add(to, entry));
                trie = next;
            }
            let (left, right) = lexicon.unknown;
            let unknown = Entry { left, right, cost: UNKNOWN, kind: Kind::Unknown, parts: 0 };
            (from + 1..=run.len().min(from + MAX_WORD)).for_each(|to| add(to, unknown));
            if let Some((start, end)) = guest.filter(|(start, end)| *start == from && *end <= run.len()) {
                // As a common noun that ends like this one.
                let model = if has_final(run[end - 1]) { ['배', '송'] } else { ['카', '드'] };
                if let Some(entry) = lexicon.entries(&model).find(|entry| entry.kind == Kind::Noun)
                    && !lexicon.has(&run[start..end], |kind| kind == Kind::Noun)
                {
                    add(end, entry);
                }
            }
        }
        let makers = run
            .iter()
            .enumerate()
            .filter(|(_, char)| "추췄춘출꾸꿔꾼꿀나났난날하해했한할되돼됐된될시받당스없있".contains(**char));
        let makes_verbs = makers.fold(0, |bits, (at, _)| bits | 1 << at);
        let mut lattice = Lattice { nodes, best: FAR, makes_verbs };
        lattice.weigh(lexicon, run.len());
        lattice
    }

    fn weigh(&mut self, lexicon: &Lexicon, length: usize) {
        // The cheapest way to each place, by the class of the word that ends there.
        let classes = lexicon.classes;
        let mut ways: Vec<Vec<(u8, i32)>> = vec![Vec::new(); length + 1];
        let better = |ways: &mut Vec<(u8, i32)>, class: u8, cost: i32| match ways.iter_mut().find(|way| way.0 == class) {
            Some(way) => way.1 = way.1.min(cost),
            None => ways.push((class, cost)),
        };
        ways[0].push((lexicon.edge.1, 0));
        let mut known = vec![FAR; classes];
        let mut place = usize::MAX;
        for node in &mut self.nodes {
            if node.from != place {
                place = node.from;
                known.fill(FAR);
            }
            let left = usize::from(node.entry.left);
            if known[left] == FAR {
                let costs = ways[place].iter().map(|(class, cost)| cost + lexicon.cost(*class, node.entry.left));
                known[left] = costs.min().unwrap_or(FAR);
            }
            if known[left] < FAR {
                node.before = known[left] + node.entry.cost;
                better(&mut ways[node.to], node.entry.right, node.before);
            }
        }
        let mut ways: Vec<Vec<(u8, i32)>> = vec![Vec::new(); length + 1];
        ways[length].push((lexicon.edge.0, 0));
        for node in self.nodes.iter_mut().rev() {
            let costs = ways[node.to].iter().map(|(class, cost)| cost + lexicon.cost(node.entry.right, *class));
            node.after = costs.min().unwrap_or(FAR);
            if node.after < FAR {
                better(&mut ways[node.from], node.entry.left, node.after + node.entry.cost);
                self.best = self.best.min(if node.from == 0 { node.before + node.after } else { self.best });
            }
        }
    }

    /// How much dearer than the cheapest reading one is that contains a node which `wanted` likes.
    pub(super) fn gap(&self, wanted: impl Fn(&Node) -> bool) -> i32 {
        let costs = self.nodes.iter().filter(|node| wanted(node)).map(|node| node.before.saturating_add(node.after));
        costs.min().unwrap_or(FAR).saturating_sub(self.best)
    }

    /// The same for a noun between two syllables, alone or as a part of a compound.
    pub(super) fn noun_gap(&self, from: usize, to: usize) -> i32 {
        self.gap(|node| {
            let kind = node.entry.kind;
            let exact = node.from == from && node.to == to && kind != Kind::Unknown;
            (kind.nominal()
                && (exact
                    || node.entry.parts != 0 && node.from <= from && to <= node.to && node.parted(from) && node.parted(to)))
                || kind == Kind::NounAnd && node.from == from && node.to > to
                // 고장나다 is a verb of its own in the lexicon.
                || kind.verbal() && node.from == from && node.to > to && self.derives(to)
        })
    }

    /// The cheapest reading, as words.
    pub(super) fn path(&self) -> Vec<Node> {
        let mut path = Vec::new();
        let mut at = 0;
        // Each step is the word with which the whole still costs the least.
        while let Some(node) = self.nodes.iter().find(|node| node.from == at && node.before + node.after == self.best) {
            path.push(*node);
            at = node.to;
        }
        path
    }

    /// The words that begin a reading.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

/// The syllable ends in a consonant.
pub(super) fn has_final(syllable: char) -> bool {
    ('가'..='힣').contains(&syllable) && (u32::from(syllable) - 0xac00) % 28 != 0
}

//! R14, R15 and R17: a platform that says no, answers rubbish, or never ends. Another account beside it must not notice,
//! memory stays where it was, and once the platform is well everything is there once.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use moksori::clock::{Clock, Time};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    Engines, Line,
    child::Child,
    shop::{PATIENCE, Shop, until},
    sized,
};

/// What an answer may be at most, decompressed, and how long an exchange may take: as the connector file has it.
const CAP_MIB: u64 = 4;
const TIMEOUT: Duration = Duration::from_secs(2);

/// How the platform answers one of its accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// 429, with how many seconds to wait.
    Limited(Option<u64>),
    Broken,
    /// Takes the request and says nothing.
    Silent,
    /// Hangs up.
    Rude,
    /// Sends elsewhere, and back.
    Circle,
    /// A page for people, with status 200.
    Page,
    Truncated,
    WrongType,
    NoText,
    /// Goes on as fast as it can.
    Endless,
    /// A byte a second.
    Trickle,
    /// A head of 100 MB.
    Head,
    /// A gigabyte of zeros, packed.
    Bomb,
}

#[derive(Default)]
struct State {
    moods: HashMap<String, Mood>,
    /// How many posts each account has.
    posts: HashMap<String, usize>,
    /// When each account was asked, and how long the exchange went on.
    asked: HashMap<String, Vec<(Time, Option<Duration>)>>,
}

/// A server with two accounts, `/well` and `/ill`, on 127.0.0.1.
#[derive(Clone)]
struct Platform {
    state: Arc<Mutex<State>>,
    bomb: Arc<Vec<u8>>,
    base: String,
}

impl Platform {
    async fn start() -> Platform {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let platform = Platform { state: Arc::default(), bomb: Arc::new(bomb()), base };
        let serving = platform.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        platform
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, mood: Mood) {
        self.state().moods.insert("ill".into(), mood);
    }

    fn post(&self, account: &str) {
        *self.state().posts.entry(account.into()).or_default() += 1;
    }

    /// When an account was asked since `since`, and how long that went on.
    fn asked(&self, account: &str, since: Time) -> Vec<(Time, Option<Duration>)> {
        let state = self.state();
        state.asked.get(account).into_iter().flatten().filter(|(at, _)| *at >= since).copied().collect()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&head);
        let path = head.split(' ').nth(1).unwrap_or("/");
        let account = path.trim_start_matches('/').split(['/', '?']).next().unwrap_or("").to_owned();
        let (mood, posts, number) = {
            let mut state = self.state();
            let asked = state.asked.entry(account.clone()).or_default();
            asked.push((Clock::System.now(), None));
            let number = asked.len() - 1;
            (state.moods.get(&account).copied().unwrap_or(Mood::Well), state.posts.get(&account).copied().unwrap_or(0), number)
        };
        let begun_at = Clock::System.now();
        // Whoever hangs up on a platform that does not end is right.
        let _hung_up = self.answer(&mut stream, mood, &account, posts).await;
        let took = Clock::System.now().since(begun_at);
        if let Some(asked) = self.state().asked.get_mut(&account) {
            asked[number].1 = Some(took);
        }
    }

    async fn answer(&self, stream: &mut TcpStream, mood: Mood, account: &str, posts: usize) -> std::io::Result<()> {
        let whole = |status: &str, more: &str, kind: &str, body: &str| {
            let length = body.len();
            format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            )
        };
        let json = "application/json";
        let list = || {
            let newest: Vec<String> = (0..posts).rev().take(200).map(|number| one(account, number)).collect();
            format!("{{\"posts\": [{}], \"end\": true}}", newest.join(","))
        };
        let text = match mood {
            Mood::Well => whole("200 OK", "", json, &list()),
            Mood::Limited(None) => whole("429 Too Many Requests", "", json, "{}"),
            Mood::Limited(Some(seconds)) => whole("429 Too Many Requests", &format!("retry-after: {seconds}\r\n"), json, "{}"),
            Mood::Broken => whole("503 Service Unavailable", "", "text/html", "<h1>Sorry</h1>"),
            Mood::Circle => whole("302 Found", &format!("location: {}/ill/again\r\n", self.base), json, ""),
            Mood::Page => whole("200 OK", "", "text/html", "<!doctype html><title>Log in</title>"),
            Mood::WrongType => whole("200 OK", "", json, "{\"posts\": 7, \"end\": \"yes\"}"),
            Mood::NoText => whole("200 OK", "", json, "\u{0}\u{1}{{{{"),
            Mood::Truncated => {
                let list = list();
                whole("200 OK", "", json, &list[..list.len() / 2])
            }
            Mood::Rude => return Ok(()),
            Mood::Silent => {
                let mut end = [0];
                stream.read_exact(&mut end).await?;
                return Ok(());
            }
            Mood::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"posts\": [").await?;
                loop {
                    stream.write_all(&[b' '; 1 << 16]).await?;
                }
            }
            Mood::Trickle => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n").await?;
                loop {
                    stream.write_all(b" ").await?;
                    Clock::System.sleep(Duration::from_secs(1)).await;
                }
            }
            Mood::Head => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                for _ in 0..100 {
                    stream.write_all(b"x-long: ").await?;
                    stream.write_all(&[b'a'; 1 << 20]).await?;
                    stream.write_all(b"\r\n").await?;
                }
                return Ok(());
            }
            Mood::Bomb => {
                let length = self.bomb.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: {json}\r\ncontent-encoding: gzip\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await?;
                return stream.write_all(&self.bomb).await;
            }
        };
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    }
}

/// A post of an account, by its number.
fn one(account: &str, number: usize) -> String {
    let at = Time(Clock::System.now().0 - 60_000).to_string();
    format!(
        "{{\"id\": \"{}\", \"uri\": \"{account}:{number}\", \"by\": \"{account}{number}\", \
         \"text\": \"배송이 아직 안 와요 {account}q{number}q\", \"at\": \"{at}\"}}",
        number + 1
    )
}

/// A gigabyte of zeros in a megabyte.
fn bomb() -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..1_024 {
        packed.write_all(&zeros).unwrap();
    }
    packed.finish().unwrap()
}

/// The desk with both accounts; every 100 ms each is asked.
fn open(fault: &str, platform: &Platform) -> Option<Shop> {
    let shop = Shop::open(fault, Engines::Embedded, "")?;
    let file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/connectors/kinds/live.toml")).unwrap();
    let walk = &file[..file.find("[stream.live]").unwrap()];
    let walk = walk.replace("connector = \"live\"", "connector = \"walked\"").replace(
        "[map]\n",
        &format!(
            "[request]\ntimeout = \"{}s\"\nmax_bytes = {}\n\n[limits]\nrequests = 3000\nper = \"1m\"\n\n\
             [[error]]\nstatus = [\"429\"]\ndo = \"back_off\"\n\n[map]\n",
            TIMEOUT.as_secs(),
            CAP_MIB << 20
        ),
    );
    fs::write(shop.dir().join("connectors/walked.toml"), walk).unwrap();
    let accounts: String = ["well", "ill"]
        .iter()
        .map(|account| {
            format!(
                "[[brand.account]]\nkey = \"{account}\"\nconnector = \"walked\"\nbase = \"{}/{account}\"\n\
                 interval = \"100ms\"\nallow_private = true\n\n",
                platform.base
            )
        })
        .collect();
    let config = fs::read_to_string(&shop.path).unwrap();
    let before = "[[brand.account]]\nkey = \"shop-file\"";
    assert!(config.contains(before));
    fs::write(&shop.path, config.replace(before, &format!("{accounts}{before}"))).unwrap();
    Some(shop)
}

/// Half of the pauses between two requests to an account are shorter than this many milliseconds.
fn pause_ms(asked: &[(Time, Option<Duration>)]) -> u64 {
    let mut pauses: Vec<u64> = asked.windows(2).map(|pair| pair[1].0.since(pair[0].0).as_millis() as u64).collect();
    pauses.sort_unstable();
    pauses.get(pauses.len() / 2).copied().unwrap_or(0)
}

/// Makes the platform ill, and posts to both accounts meanwhile; what came of the ill account's requests.
async fn suffer(platform: &Platform, mood: Mood, long: Duration) -> Vec<(Time, Option<Duration>)> {
    let since = Clock::System.now();
    platform.is(mood);
    let step = Duration::from_millis(200);
    for _ in 0..long.as_millis() / step.as_millis() {
        platform.post("well");
        platform.post("ill");
        Clock::System.sleep(step).await;
    }
    platform.asked("ill", since)
}

/// Both accounts are asked, and each post of both is found.
async fn all_is_there(shop: &Shop, child: &mut Child, platform: &Platform) -> usize {
    let posts: usize = platform.state().posts.values().sum();
    until(child, "every post is found", PATIENCE, async |_| (shop.total("배송").await == Some(posts as u64)).then_some(()))
        .await;
    posts
}

#[tokio::test(flavor = "multi_thread")]
async fn r14_a_platform_that_says_no_is_left_alone_and_the_others_do_not_notice() {
    let platform = Platform::start().await;
    let Some(shop) = open("R14", &platform) else { return };
    let mut child = shop.started().await;
    platform.post("well");
    platform.post("ill");
    all_is_there(&shop, &mut child, &platform).await;
    let long = Duration::from_secs(sized(3, 20));
    let begun_at = Clock::System.now();
    suffer(&platform, Mood::Well, long).await;
    let usual_ms = pause_ms(&platform.asked("well", begun_at));

    let ill_at = Clock::System.now();
    let wait = long.as_secs();
    // One request meets the refusal; until it has passed there may be none. A busy machine suffers longer than it should.
    let suffered = suffer(&platform, Mood::Limited(Some(wait + 1)), long).await;
    let over_at = suffered.first().map(|(at, _)| at.plus(Duration::from_secs(wait)));
    let limited = suffered.iter().filter(|(at, _)| Some(*at) < over_at).count();
    platform.is(Mood::Well);
    all_is_there(&shop, &mut child, &platform).await;
    let mut asked = Vec::new();
    for mood in [Mood::Limited(None), Mood::Broken, Mood::Silent, Mood::Rude, Mood::Circle] {
        let count = suffer(&platform, mood, long).await.len();
        asked.push(count);
        platform.is(Mood::Well);
        all_is_there(&shop, &mut child, &platform).await;
    }
    let ill_ms = pause_ms(&platform.asked("well", ill_at));
    let posts = all_is_there(&shop, &mut child, &platform).await;
    let (status, _) = child.terminate().await;
    assert!(status.success(), "{status}");
    Line::new("R14", Engines::Embedded)
        .of("requests_in_the_window", limited, 1)
        .is("requests_while_ill", format!("{asked:?}"))
        .is("others_pause_ms", format!("{usual_ms}->{ill_ms}"))
        .is("posts", posts)
        .print();
    assert!(limited <= 1, "{limited} requests while it had said when to come again");
    // Asked every 100 ms, it would have been far more.
    let most = (long.as_millis() / 100 / 2) as usize;
    assert!(asked.iter().all(|count| *count <= most), "{asked:?} requests, {most} at most");
    assert!(ill_ms < usual_ms * 2 + 100, "others were asked every {ill_ms} ms, not {usual_ms}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_rubbish_without_end_costs_no_memory_and_loses_nothing_and_r17_neither_do_bombs() {
    let platform = Platform::start().await;
    let Some(shop) = open("R15", &platform) else { return };
    let mut child = shop.started().await;
    platform.post("well");
    platform.post("ill");
    all_is_there(&shop, &mut child, &platform).await;
    suffer(&platform, Mood::Well, Duration::from_secs(sized(2, 20))).await;
    all_is_there(&shop, &mut child, &platform).await;
    let mut grown = Vec::new();
    let mut longest = Duration::ZERO;
    let rubbish = [Mood::Page, Mood::Truncated, Mood::WrongType, Mood::NoText, Mood::Trickle, Mood::Endless, Mood::Head];
    for moods in [&rubbish[..], &[Mood::Bomb]] {
        child.forget_peak();
        let usual_kib = child.memory_kib("VmRSS");
        for mood in moods {
            // Each is met, however long the account was left alone for the one before.
            platform.is(Mood::Well);
            all_is_there(&shop, &mut child, &platform).await;
            let since = Clock::System.now();
            platform.is(*mood);
            platform.post("ill");
            until(&mut child, "it has met it and let go", PATIENCE, async |_| {
                platform.asked("ill", since).iter().find_map(|(_, took)| *took)
            })
            .await;
            suffer(&platform, *mood, Duration::from_secs(sized(1, 5))).await;
            let took = platform.asked("ill", since).into_iter().filter_map(|(_, took)| took);
            longest = took.fold(longest, Duration::max);
        }
        grown.push(child.memory_kib("VmHWM").saturating_sub(usual_kib) / 1024);
    }
    platform.is(Mood::Well);
    let posts = all_is_there(&shop, &mut child, &platform).await;
    let (status, _) = child.terminate().await;
    assert!(status.success(), "{status}");
    Line::new("R15", Engines::Embedded)
        .of("kinds", rubbish.len(), rubbish.len())
        .is("memory_mib", format!("+{}", grown[0]))
        .is("longest_ms", longest.as_millis())
        .is("posts", posts)
        .print();
    Line::new("R17", Engines::Embedded)
        .is("unpacked_mib", 1_024)
        .is("cap_mib", CAP_MIB)
        .is("memory_mib", format!("+{}", grown[1]))
        .print();
    assert!(grown[0] < 96 && grown[1] < 96 + CAP_MIB, "+{grown:?} MiB");
    assert!(longest < TIMEOUT * 5, "{longest:?} for one exchange");
}

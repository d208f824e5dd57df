//! Tests of the drawn pages: both languages, hostile text, what the CSP would block.

use std::time::Duration;

use askama::Template;

use super::*;
use crate::{
    case::{EventKind, ReplyState, Status},
    mention::{Lang, MentionId, Reason},
    queue::{AlertRule, ExportState},
    staff::Role,
};

const NOW: Time = Time(1_795_238_431_000);

pub(crate) fn frame(language: Language) -> Frame {
    let mut frame = Frame::new(language, TimeZone::get("Asia/Seoul").unwrap(), NOW);
    frame.csrf = "c5rf".into();
    frame.here = "/queue/cs-1".into();
    frame.me = Some(Me { initials: "KG".into(), name: "김가람".into() });
    frame.room = Room::Queue;
    let item =
        |name: &str, href: &str, open, current| NavItem { name: name.into(), href: href.into(), open: Some(open), current };
    frame.nav =
        vec![item(frame.w.mine, "/mine", 3, false), item("CS-1", "/queue/cs-1", 42, true), item("VIP", "/queue/vip", 8, false)];
    frame.live = Some("/live?room=queue&team=cs-1&since=412".into());
    frame
}

fn clock(left_s: i64) -> ClockView {
    ClockView { due: Time(NOW.0 + left_s * 1_000), target_ms: 720_000, warn_ms: 144_000, ..ClockView::default() }
}

fn reason(words: &str, label: Label) -> Reason {
    Reason { rule: "ship-12".into(), words: words.into(), weight: 1.4, label }
}

fn row(number: i64, left_s: i64, label: Option<Label>, percent: u8, handle: &str, text: &str) -> Row {
    Row {
        number,
        version: 4,
        clock: Some(clock(left_s)),
        label: LabelView { label, percent: Some(percent), doubtful: percent < 60 },
        why: label.map(|label| reason("배송+멈췄", label)),
        handle: handle.into(),
        text: text.into(),
        lang: if text.is_ascii() { Lang::En } else { Lang::Ko },
        place: Place { platform: "mastodon".into(), account: Some("shop_kr".into()) },
        reach: Some(12_400),
        posted_at: NOW.minus(Duration::from_secs(600)),
        may_claim: true,
        ..Row::default()
    }
}

fn rows() -> Vec<Group> {
    let long = "배송이 3일째 멈췄는데 고객센터 전화도 안 받네요. 어제도 문의했는데 답이 없어요. 주문 A-1029 확인 좀 부탁드려요. 이러다가 선물을 놓치겠어요.";
    let mut first = row(8_123, 72, Some(Label::Complaint), 93, "user_a", long);
    first.notes = 2;
    first.draft = true;
    let mut mine = row(8_124, 462, Some(Label::Question), 88, "user_b", "M 사이즈 재입고는 언제쯤 될까요?");
    mine.owner = Some("KG".into());
    (mine.mine, mine.may_claim) = (true, false);
    let mut gone = row(8_125, 570, Some(Label::Proposal), 81, "user_c", "앱에서 장바구니를 여러 개 만들 수 있으면 좋겠어요");
    gone.left = Some(Left::ClaimedBy("SB".into()));
    let doubtful = row(
        8_126,
        605,
        Some(Label::Complaint),
        54,
        "user_d",
        "Still waiting for my refund after two weeks, any update please?",
    );
    let mut paused = row(8_127, 600, None, 0, "user_e", "고객 답 대기 중인 사건이에요");
    paused.why = None;
    paused.place.account = None;
    paused.clock = Some(ClockView {
        course: Course::Paused { left_ms: 11_100_000, reason: "고객".into() },
        target_ms: 20_000_000,
        ..clock(1)
    });
    let abuse = row(8_128, 680, Some(Label::Abuse), 97, "user_f", "가려진 글: 욕설, 3줄, 질문 있음");
    let mut late = row(8_129, -185, Some(Label::Complaint), 71, "user_g", "환불 신청한 지 열흘이 지났는데 처리가 안 됩니다");
    late.clock.as_mut().unwrap().late_intake =
        Some((NOW.minus(Duration::from_secs(1_500)), NOW.minus(Duration::from_secs(900))));
    late.owner = Some("SB".into());
    late.may_claim = false;
    let mut set = row(8_130, -41, Some(Label::Question), 0, "user_h", "비밀번호 바꾸는 방법 알려주세요");
    set.label.percent = None;
    set.label.doubtful = false;
    vec![
        Group { kind: GroupKind::ByTime, rows: vec![first, mine, gone, doubtful, paused, abuse] },
        Group { kind: GroupKind::Overdue, rows: vec![late, set] },
    ]
}

fn queue(language: Language) -> QueuePage {
    let f = frame(language);
    let choice = |value: &str, name: &str, chosen| Choice { value: value.into(), name: name.into(), chosen };
    let filter = |name: &str, title: &str, choices| Filter { name: name.into(), title: title.into(), choices };
    let peek = Peek {
        post: 1,
        exposure: None,
        row: rows()[0].rows[1].clone(),
        parent: Some("여름 옷 재입고 소식을 알려 드려요.".into()),
        reasons: vec![reason("언제", Label::Question), Reason { rule: "model".into(), ..reason("재입고", Label::Question) }],
        url: Some("https://social.example/@user_b/1".into()),
        may_work: true,
        status: Status::New,
        receivers: vec![Receiver { team: choice("vip", "VIP", false), people: Vec::new() }],
        name: None,
    };
    QueuePage {
        title: "CS-1".into(),
        path: "/queue/cs-1".into(),
        pull: "/queue/cs-1/rows".into(),
        filters: vec![
            filter("label", f.w.filter_label, f.labels().iter().map(|(value, name)| choice(value, name, false)).collect()),
            filter("lang", f.w.filter_lang, vec![choice("ko", "한국어", true)]),
            filter("platform", f.w.filter_platform, vec![]),
            filter("owner", f.w.filter_owner, vec![choice("me", f.w.me, false)]),
        ],
        list: List {
            counts: Counts { open: 42, overdue: 2, unclaimed: 17, next: Some(clock(72)) },
            groups: rows(),
            total: 212,
            more: Some("/queue/cs-1?shown=100".into()),
            seq: 412,
            ..List::default()
        },
        peek: Some(peek),
        f,
    }
}

fn case(language: Language, log_open: bool) -> CasePage {
    let mut f = frame(language);
    f.live = Some("/live?room=case&case=8123&since=412".into());
    f.flash =
        Some(Flash { text: f.w.did_claim.into(), undo: Some(("/cases/8123/undo".into(), 411)), bad: false, anyway: false });
    let ago = |seconds| NOW.minus(Duration::from_secs(seconds));
    let post = |id, handle: &str, text: &str, seconds| Passage {
        id,
        handle: handle.into(),
        text: text.into(),
        lang: Lang::Ko,
        at: ago(seconds),
        url: Some("https://social.example/@a/1".into()),
        ..Passage::default()
    };
    let reply = |id, state, due: Time, undo| ReplyBubble {
        id,
        by: "KG".into(),
        text: "불편을 드려 죄송해요. 물류 담당에게 확인하고 곧 알려 드릴게요. ^KG".into(),
        at: ago(30),
        state,
        due,
        sent_at: Some(ago(20)),
        reason: None,
        url: None,
        undo,
    };
    CasePage {
        number: 8_123,
        version: 7,
        status: Status::Open,
        label: LabelView { label: Some(Label::Complaint), percent: Some(93), doubtful: false },
        reasons: vec![reason("배송+멈췄", Label::Complaint)],
        team: "CS-1".into(),
        queue: "/queue/cs-1".into(),
        owner: Some("KG".into()),
        mine: true,
        place: Place { platform: "mastodon".into(), account: Some("shop_kr".into()) },
        transfers: 2,
        clocks: vec![clock(72), ClockView { promise: Promise::Resolution, target_ms: 86_400_000, ..clock(80_000) }],
        thread: vec![
            ThreadItem::Post(Passage {
                before: true, ours: true, ..post(1, "shop_kr", "주말 배송 안내를 드려요.", 900)
            }),
            ThreadItem::Post(post(
                2,
                "user_a",
                "배송이 3일째 멈췄는데 고객센터 전화도 안 받네요.\n주문 A-1029 확인 좀 부탁드려요.",
                640,
            )),
            ThreadItem::Note { id: 5, by: "SB".into(), text: "물류에 물어봤어요.".into(), at: ago(300) },
            ThreadItem::Post(Passage { deleted_at: Some(ago(200)), ..post(3, "user_a", "지운 글의 내용", 250) }),
            ThreadItem::Reply(reply(31, ReplyState::Sent, ago(25), None)),
            ThreadItem::Reply(reply(32, ReplyState::Queued, NOW.plus(Duration::from_millis(4_200)), Some(415))),
        ],
        answer: Answer::Reply {
            account: "@shop_kr".into(),
            signature: "^KG".into(),
            rule: LengthRule { unit: "graphemes", max: 500, url: Some(23), light: String::new() },
        },
        reply_draft: (String::new(), 0),
        note_draft: (String::new(), 0),
        contact: Contact {
            handle: "user_a".into(),
            name: Some("가나다".into()),
            reach: Some(12_400),
            earlier: vec![Earlier {
                number: 7_431,
                status: Status::Resolved,
                label: LabelView { label: Some(Label::Question), percent: Some(91), doubtful: false },
                text: "배송 조회가 안 돼요".into(),
                at: ago(1_900_000),
            }],
        },
        log: vec![
            LogLine { at: ago(640), kind: EventKind::Opened, by: None, detail: "CS-1".into() },
            LogLine { at: ago(400), kind: EventKind::Claimed, by: Some("KG".into()), detail: String::new() },
        ],
        log_open,
        similar: None,
        may: May { claim: false, give_back: true, work: true },
        presence: vec![Presence { initials: "SB".into(), writing: true }],
        caught: Vec::new(),
        unaddressed: false,
        receivers: vec![Receiver {
            team: Choice { value: "vip".into(), name: "VIP".into(), chosen: false },
            people: vec![Choice { value: "LE".into(), name: "LE 이은하".into(), chosen: false }],
        }],
        dispositions: vec![Choice { value: "answered".into(), name: "답변".into(), chosen: false }],
        f,
    }
}

fn search(language: Language) -> SearchPage {
    let mut f = frame(language);
    f.live = None;
    f.room = Room::Search;
    let item = |name: &str, count, on| FacetItem { name: name.into(), count, href: "/search?q=x".into(), on };
    let hit = |number| Hit {
        mention: MentionId(number),
        case: Some(HitCase {
            number,
            status: Status::Resolved,
            team: "CS-1".into(),
            answered: Some(("^SB".into(), Duration::from_secs(490))),
            disposition: Some("환불".into()),
            answer: None,
        }),
        label: LabelView { label: Some(Label::Complaint), percent: Some(91), doubtful: false },
        place: Place { platform: "mastodon".into(), account: None },
        lang: Lang::Ko,
        at: NOW.minus(Duration::from_secs(1_900_000)),
        snippet: vec![
            (false, "또 ".into()),
            (true, "배송".into()),
            (false, "이 ".into()),
            (true, "지연".into()),
            (false, "됐다고 앱에 떠요".into()),
        ],
        reach: Some(1_200),
        url: None,
        signature: 0,
        copies: 12,
        like: None,
    };
    let folded = Hit { case: None, url: Some("https://social.example/@a/2".into()), ..hit(0) };
    SearchPage {
        q: "배송 지연".into(),
        total: Some(214),
        more: false,
        behind: false,
        took: Duration::from_micros(6_100),
        widened: vec!["지연 → 지연돼, 지연됐".into()],
        hits: vec![hit(7_431), hit(7_118), folded],
        facets: vec![
            Facet { title: f.w.facet_label.into(), items: vec![item(f.w.complaint, 190, true), item(f.w.question, 20, false)] },
            Facet { title: f.w.facet_team.into(), items: vec![item("CS-1", 150, false)] },
        ],
        sorts: vec![
            Choice { value: "/search?q=x".into(), name: f.w.sort_best.into(), chosen: true },
            Choice { value: "/search?q=x&sort=new".into(), name: f.w.sort_new.into(), chosen: false },
        ],
        sort: String::new(),
        teams: vec![Choice { value: "cs-1".into(), name: "CS-1".into(), chosen: false }],
        like: None,
        error: None,
        hint: None,
        previous: None,
        next: Some("/search?q=x&page=2".into()),
        f,
    }
}

fn saved(language: Language) -> SavedPage {
    let hour = Duration::from_secs(3_600);
    let row = |id, name: &str, alert, team: Option<&str>| SavedRow {
        id,
        name: name.into(),
        query: "배송 (지연 OR 늦) -resolved label:complaint".into(),
        href: "/search?q=x".into(),
        team: team.map(Into::into),
        mine: team.is_none(),
        alert,
    };
    let alert = |found, usual, fresh| AlertRow {
        name: "배송 지연".into(),
        at: NOW,
        found,
        period: hour,
        usual,
        href: "/search?q=x".into(),
        fresh,
    };
    SavedPage {
        f: Frame { live: None, room: Room::Search, ..frame(language) },
        alerts: vec![alert(38, Some(350), true), alert(21, None, false), alert(12, Some(0), false)],
        rows: vec![
            row(1, "배송 지연", Some(AlertRule::Spike { percent: 300, threshold: 10, period: hour }), None),
            row(2, "결제 오류", Some(AlertRule::Count { threshold: 20, period: hour * 24 }), Some("CS-1")),
            row(3, "쿠폰", None, None),
        ],
    }
}

fn exports(language: Language) -> ExportsPage {
    let row = |id, state, done, mine| ExportRow {
        id,
        query: "배송 지연 posted:2026-11-01..11-21".into(),
        reason: "11월 배송 보고서".into(),
        initials: "KG".into(),
        state,
        done,
        total: 12_400,
        at: NOW,
        downloads: u64::from(done == 12_400),
        mine,
    };
    ExportsPage {
        f: Frame { live: None, room: Room::Search, ..frame(language) },
        rows: vec![
            row(4, ExportState::Running, 4_500, true),
            row(3, ExportState::Done, 12_400, true),
            row(2, ExportState::Expired, 12_400, false),
            row(1, ExportState::Cancelled, 500, true),
        ],
        everybody: false,
    }
}

fn insight(language: Language) -> InsightPage {
    let f = Frame { live: None, room: Room::Search, ..frame(language) };
    let columns =
        |values: &[u64]| Columns { values: values.to_vec(), summary: f.with(f.w.rise_summary, "n", values.last().unwrap()) };
    let row = |term: &str, times, values: &[u64]| RisingRow {
        term: term.into(),
        href: "/search?q=x".into(),
        times,
        new: values[..4].iter().sum::<u64>() == 0,
        columns: columns(values),
        examples: vec![Example {
            case: Some(8_123),
            snippet: vec![(false, "카드로 하려는데 ".into()), (true, "결제 오류".into()), (false, "라고만 나와요".into())],
        }],
    };
    let choice = |value: &str, chosen| Choice { value: value.into(), name: value.into(), chosen };
    InsightPage {
        brands: vec![choice("shop", true), choice("cafe", false)],
        labels: vec![choice("", true), choice("complaint", false)],
        weeks: vec!["10. 23.".into(), "10. 30.".into(), "11. 6.".into(), "11. 13.".into(), "11. 20.".into()],
        totals: columns(&[812, 790, 845, 803, 1_024]),
        read: Some(4_274),
        rising: vec![row("결제 오류", 9.1, &[1, 0, 2, 1, 38]), row("refund coupon", 4.0, &[0, 0, 0, 0, 12])],
        f,
    }
}

fn outside(language: Language) -> Frame {
    Frame { me: None, live: None, nav: vec![], room: Room::Outside, csrf: String::new(), ..frame(language) }
}

/// Every page in one language, with a name.
fn pages(language: Language) -> Vec<(&'static str, String)> {
    let mut lonely = queue(language);
    lonely.list.groups.clear();
    lonely.list.more = None;
    lonely.list.last_seen = Some(NOW);
    lonely.peek = None;
    let mut away = case(language, false);
    away.answer = Answer::Blocked;
    let mut nothing = search(language);
    let mut like = search(language);
    like.like = Some(8_123);
    for (hit, percent) in like.hits.iter_mut().zip([97, 41]) {
        hit.like = Some((percent, percent > 90));
        hit.case.as_mut().unwrap().answer = Some("바로 확인하고 있어요. 오늘 안에 다시 알려 드릴게요.".into());
    }
    let mut beside = case(language, false);
    let words = |hit: &Hit| hit.likeness(&like.f).unwrap();
    beside.similar = Some(like.hits[..2].iter().map(|hit| Lookalike { hit: hit.clone(), words: words(hit) }).collect());
    (nothing.total, nothing.hint) = (Some(0), Some("배송지연".into()));
    let sign_in =
        SignIn { f: outside(language), next: "/queue/cs-1".into(), email: "a@b.kr".into(), failure: Some(Failure::Wrong) };
    let link = LinkPage { f: outside(language), token: "t0ken".into(), next: "/".into() };
    let problem = |problem| {
        let f = Frame { live: None, ..frame(language) };
        let (words, typed) = (problem_words(&f, &problem), vec!["늦어서 미안해요".into()]);
        ErrorPage { words, typed, behind: Some("/cases/9".into()), sign_in: "/sign-in".into(), f }.render().unwrap()
    };
    vec![
        ("queue", queue(language).render().unwrap()),
        ("queue-empty", lonely.render().unwrap()),
        ("case", case(language, false).render().unwrap()),
        ("case-log", case(language, true).render().unwrap()),
        ("case-blocked", away.render().unwrap()),
        ("search", search(language).render().unwrap()),
        ("saved", saved(language).render().unwrap()),
        ("exports", exports(language).render().unwrap()),
        ("insight", insight(language).render().unwrap()),
        ("search-like", like.render().unwrap()),
        ("case-similar", beside.render().unwrap()),
        ("search-empty", nothing.render().unwrap()),
        ("sign-in", sign_in.render().unwrap()),
        ("link", link.render().unwrap()),
        ("forbidden", problem(Problem::Forbidden { needs: Role::Lead, ask: Some(("CS-1".into(), "SB".into())) })),
        ("not-found", problem(Problem::NoCase(9))),
        ("failed", problem(Problem::Failed("e-77".into()))),
    ]
}

#[test]
fn every_page_draws_in_both_languages() {
    // Written out so that a person can look at them beside the real styles.
    let keep = std::env::var_os("MOKSORI_PAGES").map(std::path::PathBuf::from);
    for language in Language::ALL {
        for (name, page) in pages(language) {
            assert!(page.starts_with("<!doctype html>"), "{name}");
            assert!(page.contains(&format!("<html lang=\"{}\"", language.code())), "{name}");
            assert_eq!(page.matches("<h1").count(), 1, "{name} has one heading");
            assert_eq!(page.matches("<main").count(), 1, "{name}");
            assert!(!page.contains("{n}") || page.contains("id=\"words\""), "{name}");
            if let Some(keep) = &keep {
                std::fs::write(keep.join(format!("{name}-{}.html", language.code())), &page).unwrap();
            }
        }
    }
}

#[test]
fn a_hostile_post_is_drawn_inert() {
    let text = format!(
        "<script>alert(1)</script>\u{202e}\"'{}<img src=x onerror=alert(1)><hx-partial hx-target=\"#rows\">",
        "\u{200b}".repeat(300)
    );
    let mut page = queue(Language::Ko);
    let row = &mut page.list.groups[0].rows[0];
    row.text = text.clone();
    row.handle = "<b>\u{202e}x".into();
    row.place.account = Some("\"><script>".into());
    let html = page.render().unwrap();
    for evil in ["<script>alert", "<img", "\u{202e}", "\u{200b}", "<b>\u{202e}", "<hx-partial hx-target=\"#rows\""] {
        assert!(!html.contains(evil), "{evil:?} got through");
    }
    assert!(html.contains("&#60;script&#62;alert(1)&#60;/script&#62;□"));
    let mut page = case(Language::En, false);
    if let ThreadItem::Post(post) = &mut page.thread[1] {
        post.text = text;
        post.url = Some("javascript:alert(1)".into());
    }
    let html = page.render().unwrap();
    assert!(!html.contains("<script>alert") && !html.contains("javascript:") && !html.contains('\u{202e}'));
}

#[test]
fn a_deleted_post_shows_when_it_went_and_never_its_text() {
    let html = case(Language::Ko, false).render().unwrap();
    assert!(html.contains("작성자가 지운 글이에요 ("), "{html}");
    assert!(!html.contains("지운 글의 내용"));
}

#[test]
fn a_reply_that_is_stuck_can_be_sent_again_by_whoever_may_work() {
    for (state, works, offered) in [
        (ReplyState::Failed, true, true),
        (ReplyState::Unknown, true, true),
        (ReplyState::Failed, false, false),
        (ReplyState::Sent, true, false),
        (ReplyState::Queued, true, false),
    ] {
        let mut page = case(Language::Ko, false);
        page.may.work = works;
        page.thread.retain_mut(|item| match item {
            ThreadItem::Reply(reply) => {
                reply.state = state;
                true
            }
            _ => false,
        });
        let html = page.render().unwrap();
        assert_eq!(html.contains(">다시 보내기</button>"), offered, "{state:?}, may work: {works}");
    }
}

#[test]
fn a_reply_that_was_held_back_is_sent_or_discarded_by_whoever_may_work() {
    let words =
        [(Language::Ko, ["보내기", "보내지 않기", "이미 갔을 수"]), (Language::En, ["Send", "Discard", "sent already"])];
    for (language, [send, discard, warning]) in words {
        for (state, works, offered) in
            [(ReplyState::Parked, true, true), (ReplyState::Parked, false, false), (ReplyState::Unknown, true, false)]
        {
            let mut page = case(language, false);
            page.may.work = works;
            for item in &mut page.thread {
                if let ThreadItem::Reply(reply) = item {
                    reply.state = state;
                }
            }
            let html = page.render().unwrap();
            for (command, word) in [("send", send), ("discard", discard)] {
                let button = html.contains(&format!("formaction=\"/cases/8123/{command}\""));
                assert_eq!(button && html.contains(&format!(">{word}</button>")), offered, "{state:?} {works} {word}");
            }
            assert_eq!(html.contains(warning), state == ReplyState::Parked);
            assert!(state != ReplyState::Parked || !html.contains("/cases/8123/retry"), "it is not sent again, but once");
        }
    }
}

#[test]
fn the_composer_says_first_whether_one_may_answer() {
    let mut page = case(Language::Ko, false);
    let html = page.render().unwrap();
    assert!(
        html.contains("action=\"/cases/8123/reply\"") && html.contains("data-max=\"500\"") && html.contains("data-url=\"23\"")
    );
    page.answer = Answer::LinkOnly;
    let html = page.render().unwrap();
    assert!(
        !html.contains("/reply\"") && html.contains("formaction=\"/cases/8123/answered\"") && html.contains("원문에서 답하기")
    );
    page.answer = Answer::Blocked;
    let html = page.render().unwrap();
    assert!(!html.contains("/reply\"") && html.contains("작성자가 우리를 부르지 않아 MA에서 답글을 막아요."));
    page.answer = Answer::ReadOnly;
    page.may = May::default();
    let html = page.render().unwrap();
    assert!(!html.contains("/note\"") && !html.contains("/label\"") && !html.contains("/resolve\""));
}

#[test]
fn a_row_is_the_same_on_the_page_and_in_a_push() {
    let f = frame(Language::En);
    let groups = rows();
    let push = RowPush { f: &f, rows: &groups[0].rows[..1], counts: None, flash: None }.render().unwrap();
    assert!(push.starts_with("<hx-partial hx-target=\"#case-8123\" hx-swap=\"outerMorph\"><li id=\"case-8123\""), "{push}");
    assert!(
        queue(Language::En)
            .render()
            .unwrap()
            .contains(push.split_once("Morph\">").unwrap().1.split_once("</hx-partial>").unwrap().0.trim())
    );
    // Forms carry the token by one form of the page, so a row needs none.
    assert!(!push.contains("c5rf"));
    assert!(
        push.contains("data-due=") && push.contains("data-warn=\"144000\"") && push.contains("aria-label=\"due 14:21\""),
        "{push}"
    );
    let gone = RowPush { f: &f, rows: &groups[0].rows[2..3], counts: None, flash: None }.render().unwrap();
    assert!(gone.contains("Claimed by SB") && !gone.contains("/claim"));
}

#[test]
fn a_row_says_its_state_by_shape_word_and_figure() {
    let f = frame(Language::En);
    for (left_s, state, icon, word, digits, bar) in [
        (462, "normal", "clock", "left", "07:42", 56),
        (144, "warning", "triangle-alert", "soon", "02:24", 17),
        (0, "breached", "octagon-alert", "overdue", "+00:00", 88),
        (-185, "breached", "octagon-alert", "overdue", "+03:05", 88),
        (3_600, "normal", "clock", "left", "1:00", 88),
    ] {
        let clock = clock(left_s);
        assert_eq!((clock.state(&f), clock.icon(&f), clock.word(&f)), (state, icon, word));
        assert_eq!((clock.digits(&f).as_str(), clock.bar(&f)), (digits, bar));
    }
    let paused = ClockView { course: Course::Paused { left_ms: 90_000, reason: String::new() }, ..clock(-5) };
    assert_eq!((paused.state(&f), paused.digits(&f).as_str(), paused.running()), ("paused", "01:30", false));
}

#[test]
fn a_page_of_fifty_rows_stays_light() {
    let mut page = queue(Language::Ko);
    page.list.groups[0].rows =
        (0..50).map(|n| row(n, 400, Some(Label::Complaint), 90, "user_long_name", &"가나다라마바사 ".repeat(20))).collect();
    page.list.groups.truncate(1);
    let html = page.render().unwrap();
    assert!(html.len() <= 120_000, "{}", html.len());
    let elements = html.matches('<').count() - html.matches("</").count();
    assert!(elements <= 1_400, "{elements}");
}

/// Relative luminance of "#RRGGBB".
fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

#[test]
fn every_pair_of_colours_can_be_read() {
    let css = include_str!("../../../static/tokens.css");
    let block = |selector: &str| {
        let inside = css.split_once(selector).unwrap().1.split_once('{').unwrap().1.split_once('}').unwrap().0;
        inside.split(';').filter_map(|line| line.trim().strip_prefix("--")?.split_once(": ")).collect::<Vec<_>>()
    };
    let (light, dark, auto) = (block("[data-theme=\"light\"]"), block("[data-theme=\"dark\"]"), block("[data-theme=\"auto\"]"));
    assert_eq!(dark, auto);
    assert_eq!(light.iter().map(|(name, _)| name).collect::<Vec<_>>(), dark.iter().map(|(name, _)| name).collect::<Vec<_>>());
    let texts = "text:surface text:canvas text:selected text:raised text:mark text2:surface text2:canvas text2:selected text2:raised \
        text3:surface text3:canvas text3:raised text3:selected accent:surface accent:selected accent:canvas accent:raised \
        on-accent:accent warn:warn-tint warn:surface warn:selected warn:canvas breach:breach-tint breach:surface breach:selected \
        breach:canvas met:met-tint met:surface met:selected paused:paused-tint paused:surface paused:selected \
        complaint:complaint-tint question:question-tint proposal:proposal-tint abuse:abuse-tint other:other-tint";
    let parts = "edge:surface edge:canvas normal-bar:track warn-bar:track breach-bar:track normal-bar:surface warn-bar:surface \
        breach-bar:surface focus:surface focus:canvas focus:selected";
    for theme in [&light, &dark] {
        let colour = |name: &str| theme.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name}")).1;
        for (pairs, least) in [(texts, 4.5), (parts, 3.0)] {
            for pair in pairs.split_whitespace() {
                let (front, back) = pair.split_once(':').unwrap();
                let (a, b) = (luminance(colour(front)), luminance(colour(back)));
                let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(ratio >= least, "{pair}: {ratio:.2}");
            }
        }
    }
}

//! Text that breaks careless stores: it comes back as it went in, or is refused for good.

use moksori::{
    mention::{Author, Envelope, Mark},
    queue::{Error, Texts, Tx, Urgency},
};

use super::{SQUARE, Shop, on_both, open_case, person, post, verdict};

/// What every column must give back as it was.
fn texts() -> Vec<(&'static str, String)> {
    vec![
        ("emoji of four bytes", "배송 😡👩‍👩‍👧‍👦🏳️‍🌈 언제 와요".into()),
        ("a surrogate alone, as a reader replaces it", String::from_utf16_lossy(&[0xac00, 0xd800, 0xac01])),
        ("decomposed Hangul", "\u{1112}\u{1161}\u{11ab}국어".into()),
        ("quotes and statements", "'; DROP TABLE mention; -- \" \\ $1 ?1 % _ {} \\u0041".into()),
        ("control characters", "\u{1}\u{7}\u{8}\u{b}\u{1b}[31m\u{7f}\u{85}\r\n\t".into()),
        ("direction marks and a byte order mark", "\u{feff}\u{202e}abc\u{2066}".into()),
        ("the ends of the planes", "\u{ffff}\u{10ffff}\u{e000}".into()),
        ("spaces around", "  \n 안녕 \t ".into()),
        ("nothing", String::new()),
        ("a megabyte", "배송이 안 와요. ".repeat(50_000)),
    ]
}

/// Everything that a person outside or inside can type, stored and read back.
fn everywhere(tx: &mut Tx<'_>, nth: usize, text: &str) -> Result<(), Error> {
    let author =
        Author { native_id: format!("{nth} {}", head(text)), handle: text.into(), name: Some(text.into()), reach: None };
    let envelope = Envelope {
        native_id: format!("{nth} {}", head(text)),
        local_ref: Some(format!("local {nth} {}", head(text))),
        parent: Some(head(text)),
        url: Some(text.into()),
        visibility: Some(text.into()),
        media: vec![text.into()],
        author: Some(author.clone()),
        ..post("", "")
    };
    let mut verdict = verdict();
    verdict.reasons[0].words = text.into();
    let (contact, _) = tx.contact(SQUARE, &author)?;
    let texts = Texts { masked: text, original: Some(text), signature: 0 };
    let mention = tx.insert_mention(&envelope, contact, None, &verdict, texts, 1)?;
    tx.update_mention(mention, &envelope, &verdict, texts, 1)?;
    let (case, posted) = open_case(tx, &post(&format!("case {nth}"), &format!("author {nth}")))?;
    let agent = tx.put_agent(&person("KG", Vec::new()))?;
    let account = tx.catalog().account_by_key("main").unwrap().id;
    tx.insert_note(case, agent, "note", text)?;
    assert!(tx.put_draft(agent, case, "reply", text, 0)?.is_ok());
    let state = moksori::case::ReplyState::Sending;
    let reply = tx.insert_reply(case, posted.mention, account, agent, text, state, tx.now, text)?;
    assert_eq!(tx.reply_in_flight(case, &format!("@mira {text}!"))?, Some(reply));
    tx.set_reply_state(reply, state, Some(text), None)?;
    tx.save_cursor(&format!("cursor {nth}"), text)?;
    tx.bury("", 0, i64::try_from(nth).unwrap(), text, text.as_bytes())?;
    let mut changed = tx.load_case(case)?.unwrap();
    changed.disposition = Some(text.into());
    tx.save_case(&changed)
}

/// What fits into a key.
fn head(text: &str) -> String {
    text.chars().take(100).collect()
}

async fn reads_back(shop: &Shop, nth: usize, text: String) {
    let kg = shop.kg;
    let written = text.clone();
    shop.write(move |tx| everywhere(tx, nth, &written)).await;
    shop.write({
        let text = text.clone();
        move |tx| {
            let mention = tx.find_native(SQUARE, &format!("{nth} {}", head(&text)))?.unwrap();
            assert_eq!(tx.handle_of(mention.contact)?, Some(text.clone()));
            assert_eq!(tx.find_mention(SQUARE, &format!("local {nth} {}", head(&text)))?.unwrap().id, mention.id);
            Ok(mention.id)
        }
    })
    .await;
    shop.read(move |reader| {
        let (facts, view) = (reader.case_facts_after(moksori::case::CaseId(0), 100)?, 0);
        let case = facts.last().unwrap().case;
        let view = reader.case_view(case, kg)?.unwrap_or_else(|| panic!("{view}"));
        assert_eq!(view.notes[0].text, text);
        assert_eq!(view.drafts[0].1, text);
        assert_eq!((&view.replies[0].0.text, view.replies[0].0.reason.as_ref()), (&text, Some(&text)));
        assert_eq!(view.case.disposition.as_ref(), Some(&text));
        assert_eq!(reader.cursor(&format!("cursor {nth}"))?, Some(text.clone()));
        assert_eq!(reader.replies_in_doubt()?.last().unwrap().idempotency_key, text);
        let before = view.case.mention.0 - 1;
        let mention = reader.mentions(&[moksori::mention::MentionId(before)])?.remove(0);
        assert_eq!((&mention.text.whole().to_owned(), &mention.handle, mention.name.as_ref()), (&text, &text, Some(&text)));
        assert_eq!((mention.url.as_ref(), &mention.media), (Some(&text), &vec![text.clone()]));
        assert_eq!(mention.reasons[0].words, text);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_comes_back_as_it_went_in() {
    on_both(async |shop| {
        for (nth, (what, text)) in texts().into_iter().enumerate() {
            let length = text.len();
            reads_back(shop, nth, text.clone()).await;
            let originals = shop.words("SELECT text FROM mention_original");
            assert!(originals.contains(&text), "{what}, {length} bytes");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_dead_letter_are_no_text() {
    on_both(async |shop| {
        let bytes: Vec<u8> = b"\0\xff\xfe\xed\xa0\x80".iter().copied().cycle().take(3_000_000).collect();
        shop.write(move |tx| tx.bury("", 0, 1, "not utf-8", &bytes)).await;
        let length = shop.words("SELECT length(bytes) FROM dead_letter");
        assert_eq!(length, ["3000000"]);
    })
    .await;
}

/// A batch that holds a zero byte in one of its texts.
fn with_nul(text: &'static str) -> impl Fn(&mut Tx<'_>) -> Result<(), Error> + Send + 'static {
    move |tx| {
        assert!(tx.advance("triage", 0, &Mark::default(), &Mark { log: "".into(), next: 1 })?);
        everywhere(tx, 0, text)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zero_byte_is_stored_or_refused_for_good_and_harms_no_other_text() {
    on_both(async |shop| {
        let text = "환불\0해 주세요";
        match shop.store.write(Urgency::Batch, with_nul(text)).await {
            Ok(()) => {
                let originals = shop.words("SELECT text FROM mention_original");
                assert!(originals[0] == text || originals[0] == text.replace('\0', "\u{fffd}"), "{originals:?}");
            }
            Err(error) => {
                assert!(!error.is_retryable(), "tried again, it would stop the whole partition: {error:?}");
                assert_eq!(shop.read(|reader| reader.mark("triage", 0)).await, Mark::default());
            }
        }
        reads_back(shop, 1, "다음 글".into()).await;
    })
    .await;
}

//! Framing rules as a table, raw recordings, and "any chunking gives the same events".

use proptest::prelude::*;

use super::*;

fn decode(chunks: &[&[u8]]) -> Vec<(String, String)> {
    let mut decoder = Decoder::new(CAP);
    let events = chunks.iter().flat_map(|chunk| decoder.feed(chunk).unwrap());
    events.map(|event| (event.name, event.data)).collect()
}

fn check(text: &str, want: &[(&str, &str)]) {
    let want: Vec<_> = want.iter().map(|(n, d)| ((*n).to_owned(), (*d).to_owned())).collect();
    assert_eq!(decode(&[text.as_bytes()]), want, "{text:?}");
    let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
    assert_eq!(decode(&bytes), want, "{text:?} byte by byte");
}

#[test]
fn framing() {
    for end in ["\n", "\r", "\r\n"] {
        check(&"event: a~data: x~~event: b~data: y~~".replace('~', end), &[("a", "x"), ("b", "y")]);
    }
    check("data: x\n\n", &[("", "x")]);
    check("data:x\n\n", &[("", "x")]);
    check("data:  x\n\n", &[("", " x")]);
    check("data: a\ndata\ndata: b\n\n", &[("", "a\n\nb")]);
    check(": comment\nid: 7\nretry: 1\nnonsense\ndata: x\n\n", &[("", "x")]);
    check("event: only a name\n\ndata: x\n\n", &[("", "x")]);
    check("\r\n\r\n\r\ndata: x\r\n\r\n\r\n", &[("", "x")]);
    check("\u{feff}data: x\n\n", &[("", "x")]);
    check("data: \u{feff}x\n\u{feff}data: y\n\n", &[("", "\u{feff}x")]);
    check("data: unfinished\n", &[]);
    check("data: {\"a\":\"b: c\"}\n\n", &[("", "{\"a\":\"b: c\"}")]);
}

#[test]
fn a_heartbeat_is_cr_then_lf_in_two_reads_and_no_event() {
    let parts: [&[u8]; 6] = [b"\r", b"\n", b"data: x\r", b"\n\r", b"\n", b"\r"];
    assert_eq!(decode(&parts), [(String::new(), "x".to_owned())]);
}

#[test]
fn bytes_that_are_no_utf8_become_replacement_characters() {
    assert_eq!(decode(&[b"data: a\xffb\n\n"]), [(String::new(), "a\u{fffd}b".to_owned())]);
}

#[test]
fn an_event_may_not_grow_without_end() {
    let mut decoder = Decoder::new(100);
    assert_eq!(decoder.feed(&[b'x'; 100]), Ok(vec![]));
    assert_eq!(decoder.feed(b"x"), Err(TooLong { cap: 100 }));
    let mut decoder = Decoder::new(100);
    let lines = b"data: 0123456789\n".repeat(20);
    assert_eq!(decoder.feed(&lines), Err(TooLong { cap: 100 }));
    let mut decoder = Decoder::new(100);
    let events = b"data: 0123456789\n\n".repeat(20);
    assert_eq!(decoder.feed(&events).unwrap().len(), 20);
}

#[test]
fn recorded_streams_hold_every_event() {
    for (stream, list) in [
        (fixture("18-events-1.4.sse"), fixture("18-events-1.4.json")),
        (fixture("19-events-1.8.sse"), fixture("19-events-1.8.json")),
    ] {
        let list: Vec<serde_json::Value> = serde_json::from_slice(&list).unwrap();
        let events = decode(&[&stream]);
        assert_eq!(events.len(), list.len());
        for ((name, data), want) in events.iter().zip(&list) {
            let have: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!(&have, want);
            assert_eq!(have["eventType"], **name);
        }
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/marathon/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(
        lines in prop::collection::vec("(data: ?|event: ?|: |x)?[a-zé:]{0,5}(\r|\n|\r\n|\n\n|\r\r|\r\n\r\n)", 0..20),
        cuts in prop::collection::vec(1_usize..9, 1..200),
    ) {
        let text = lines.concat();
        let mut rest = text.as_bytes();
        let mut chunks = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break }
            let (chunk, left) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = left;
        }
        prop_assert_eq!(decode(&chunks), decode(&[text.as_bytes()]));
    }
}

//! The codecs, compared with each other, with bytes written by hand from `docs/protocol.md`, and with a slow decoder that
//! follows that page to the letter (`page.rs`).

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod page;

use proptest::char::range;
use proptest::collection::vec;
use proptest::prelude::*;

use self::page::{kind_by_the_page, reference};
use loteria::bet::{AgencyId, Bet, InvalidBet};
use loteria::protocol::batch::{self, Batch};
use loteria::protocol::decoder::{BUFFER, Decoder};
use loteria::protocol::detect::{self, Kind};
use loteria::protocol::malformed::ECHO_MAX;
use loteria::protocol::{
    Answer, Code, DecodeError, Form, Generation, Malformed, Request, echo, encoder, single, typed,
};
use loteria::row::{Rows, Tally};

// ---- bytes written by hand ----

const SINGLE: &str =
    "00000001  0f 53616e746961676f204c696f6e656c  05 4c6f726361  01d79091  0a 313939392d30332d3137  00001d96";
const LORCA: &str = "53616e746961676f204c696f6e656c 00  4c6f726361 00  01d79091  313939392d30332d3137 00  00001d96";
const NANDU: &str = "c39161 00  44c3ad617a 00  00000000  323030302d30322d3239 00  ffffffff";

fn sent<'a>(bets: &'a [Bet<'a>]) -> Batch<'a> {
    Batch::new(bets).unwrap()
}

fn lorca() -> Bet<'static> {
    bet(1, "Santiago Lionel", "Lorca", 30_904_465, "1999-03-17", 7574)
}

fn nandu(agency: u32) -> Bet<'static> {
    bet(agency, "Ña", "Díaz", 0, "2000-02-29", u32::MAX)
}

#[test]
fn requests_have_the_bytes_of_the_page() {
    let one = AgencyId::new(1).unwrap();
    let five = AgencyId::new(0x0102_0305).unwrap();
    let two_bets = [lorca(), nandu(1)];
    let bets = |form, agency, bets: &[Bet<'_>]| vec![stored(form, agency, bets)];
    let cases = [
        ("41c3b16f 20 0a", echo::encode("Año "), vec![Request::Echo("Año".into())]),
        (SINGLE, single::encode(&lorca()).unwrap(), bets(Form::Single, 1, &[lorca()])),
        ("00000001 00", batch::encode(one, sent(&[])), bets(Form::UntypedBatch, 1, &[])),
        (
            &format!("00000001 02 {LORCA} {NANDU}"),
            batch::encode(one, sent(&two_bets)),
            bets(Form::UntypedBatch, 1, &two_bets),
        ),
        (
            &format!("01 00000001 02 {LORCA} {NANDU}"),
            typed::encode_batch(one, sent(&two_bets)),
            bets(Form::TypedBatch, 1, &two_bets),
        ),
        ("01 01020305 00", typed::encode_end(five), vec![Request::End { agency: 0x0102_0305 }]),
        ("03 01020305", typed::encode_winners_query(five), vec![Request::Winners { agency: 0x0102_0305 }]),
        ("06 01020305", typed::encode_tally_query(five), vec![Request::Tally { agency: 0x0102_0305 }]),
    ];
    for (page, encoded, requests) in cases {
        assert_eq!(encoded, hex(page));
        assert_eq!(decode(&encoded), (requests, None));
    }
}

#[test]
fn a_growing_batch_leaves_its_message_or_nothing() {
    let one = AgencyId::new(1).unwrap();
    let bets = [lorca(), nandu(1)];
    let mut messages = b"before".to_vec();
    let mut growing = typed::start_batch(&mut messages, one);
    assert_eq!((growing.count(), growing.encoded_len()), (0, 6));
    bets.iter().for_each(|bet| growing.push(bet));
    let expected = typed::encode_batch(one, sent(&bets));
    assert_eq!((growing.count(), growing.encoded_len()), (2, expected.len()));
    assert_eq!(growing.finish().map(u8::from), Some(2));
    let all = [b"before", &expected[..]].concat();
    assert_eq!(messages, all);
    typed::start_batch(&mut messages, one).push(&lorca());
    assert_eq!(typed::start_batch(&mut messages, one).finish(), None);
    assert_eq!(messages, all);
    let mut growing = batch::Growing::untyped(&mut messages, one);
    growing.push(&lorca());
    assert_eq!(growing.finish().map(u8::from), Some(1));
    assert_eq!(messages[all.len()..], batch::encode(one, sent(&bets[..1])));
}

#[test]
fn the_receive_buffer_grows_when_a_read_fills_it() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.space().len(), 8192);
    decoder.filled(8191);
    assert_eq!(decoder.space().len(), 1);
    decoder.filled(1);
    assert_eq!(decoder.space().len(), BUFFER - 8192);
}

#[test]
fn answers_have_the_bytes_of_the_page() {
    let tally = Tally { count: 26_936, crc: 0x89ab_cdef };
    let typed_answers = [
        ("02 00", Answer::Confirmation(Ok(()))),
        ("02 01", Answer::Confirmation(Err(Code::InvalidBet))),
        ("02 02", Answer::Confirmation(Err(Code::UnknownAgency))),
        ("02 03", Answer::Confirmation(Err(Code::AlreadyEnded))),
        ("02 04", Answer::Confirmation(Err(Code::StorageFailed))),
        ("02 05", Answer::Confirmation(Err(Code::ConnectedElsewhere))),
        ("02 06", Answer::Confirmation(Err(Code::ProtocolBroken))),
        ("02 07", Answer::Confirmation(Err(Code::Stopping))),
        ("04", Answer::NotDrawn),
        ("05 00000000", Answer::Winners(vec![])),
        ("05 00000003 01d79091 00000000 01d79091", Answer::Winners(vec![30_904_465, 0, 30_904_465])),
        ("07 01020305 0000000000006938 01 89abcdef", Answer::Tally { agency: 0x0102_0305, tally, ended: true }),
        (
            "07 00000001 0000000000000000 00 00000000",
            Answer::Tally { agency: 1, tally: Tally::default(), ended: false },
        ),
    ];
    for (page, answer) in typed_answers {
        assert_eq!(encoder::encode(&answer, Generation::Typed), hex(page));
        assert_eq!(typed::decode_answer(&hex(page)), Ok((answer, hex(page).len())));
    }
    assert_eq!(encoder::encode(&Answer::Echo("Año".into()), Generation::Echo), hex("41c3b16f 0a"));
    assert_eq!(encoder::encode(&Answer::Confirmation(Ok(())), Generation::Untyped), hex("00"));
    assert_eq!(encoder::encode(&Answer::Confirmation(Err(Code::AlreadyEnded)), Generation::Untyped), hex("03"));
    assert_eq!(
        encoder::encode(&Answer::Confirmation(Err(Code::ProtocolBroken)), Generation::Echo),
        hex(""),
        "an echo is just closed"
    );
}

#[test]
fn malformed_answers_are_refused_at_once() {
    for (bytes, malformed) in [
        ("02 08", Malformed::UnknownCode(8)),
        ("00", Malformed::UnknownType(0)),
        ("08", Malformed::UnknownType(8)),
        ("ff", Malformed::UnknownType(0xff)),
        ("01", Malformed::WrongDirection(1)),
        ("03", Malformed::WrongDirection(3)),
        ("06", Malformed::WrongDirection(6)),
    ] {
        assert_eq!(typed::decode_answer(&hex(bytes)), Err(DecodeError::Malformed(malformed)), "{bytes}");
    }
    assert_eq!(typed::decode_answer(&hex("05 ffffffff 00000000")), Err(DecodeError::Incomplete));
}

#[test]
fn the_deciding_byte_decides_the_kind_of_an_untyped_message() {
    for (decided, kind) in [
        ("00000001 00", Kind::UntypedBatch),
        ("00000001 02 00", Kind::UntypedBatch),
        ("00000001 02 41 00", Kind::UntypedBatch),
        ("00000001 02 41 42 00", Kind::UntypedBatch),
        ("00000001 02 41 42 02 00", Kind::UntypedBatch),
        ("00000001 02 41 42 02 43 00", Kind::UntypedBatch),
        ("00000001 02 41 42 02 43 44", Kind::Single),
    ] {
        let bytes = hex(decided);
        assert_eq!(detect::kind(&bytes), Some(kind), "{decided}");
        assert!((0..bytes.len()).all(|cut| detect::kind(&bytes[..cut]).is_none()), "{decided}");
    }
    for first in 0x01..=0xff {
        assert_eq!(detect::kind(&[first]), Some(if first < 0x20 { Kind::Typed } else { Kind::Echo }));
    }
}

// ---- malformed messages, and invalid bets ----

#[test]
fn unknown_types_and_server_types_fail_at_their_first_byte() {
    for kind in (1..=0xff).filter(|kind| ![1, 3, 6].contains(kind)) {
        let malformed =
            if [2, 4, 5, 7].contains(&kind) { Malformed::WrongDirection(kind) } else { Malformed::UnknownType(kind) };
        if kind < 0x20 {
            assert_eq!(decode(&[kind]), (vec![], Some(malformed)), "first on its connection");
        }
        let later = [hex("03 00000001"), vec![kind]].concat();
        assert_eq!(decode(&later), (vec![Request::Winners { agency: 1 }], Some(malformed)));
    }
    assert_eq!(decode(&hex("03 00000001 00")).1, Some(Malformed::UnknownType(0)));
}

#[test]
fn a_text_is_malformed_as_soon_as_it_is_too_long() {
    let name = format!("{} 00", "61".repeat(29));
    for (front, limit) in [
        (String::new(), 29),
        (name.clone(), 29),
        ("41 00 42 00 00000001".into(), 10),
        (format!("{name} {name} 00000001 {} 00 00000007 {name}", "61".repeat(10)), 29),
    ] {
        let mut bytes = hex(&format!("01 00000001 0b {front}"));
        bytes.extend(vec![b'a'; limit + 1]);
        let (last, before) = bytes.split_last().unwrap();
        let mut decoder = fed(before);
        assert_eq!(decoder.next_request(), Ok(None), "a NUL may follow");
        put(&mut decoder, &[*last]);
        for mut decoder in [decoder, fed(&bytes)] {
            for _ in 0..20 {
                assert_eq!(decoder.next_request(), Err(Malformed::Unterminated(limit)), "and nothing can mend it");
                put(&mut decoder, &[0; 100]);
            }
            assert_eq!(decoder.announced(), Some(0x0b), "what was refused is told in the log");
        }
    }
}

#[test]
fn an_invalid_bet_is_reported_when_its_batch_is_complete() {
    let bad = |name: &str, date: &str| hex(&format!("{name} 00 42 00 00000001 {date} 00 00000007"));
    let good_date = "313939392d30332d3137";
    for (bet, defect) in [
        (bad("", good_date), InvalidBet::Empty("first name")),
        (bad("41ff", good_date), InvalidBet::NotUtf8("first name")),
        (bad("410a42", good_date), InvalidBet::Control("first name")),
        (bad("41", "323032332d30322d3330"), InvalidBet::Date),
        (bad("41", "313939392d332d3137"), InvalidBet::Date),
        (bad("41", ""), InvalidBet::Date),
    ] {
        let second = hex(&format!("00 42 00 00000001 {good_date} 00 00000007"));
        let message = [&hex("01 00000009 04")[..], &hex(LORCA), &bet, &second, &hex(LORCA)].concat();
        let refused = Request::Bets { form: Form::TypedBatch, agency: 9, count: 4, rows: Err(defect) };
        for cut in 0..message.len() {
            assert_eq!(decode(&message[..cut]), (vec![], None));
        }
        // The decoder can still decode the connection: the session closes it.
        let next = hex("03 00000009");
        assert_eq!(decode(&[message, next].concat()), (vec![refused, Request::Winners { agency: 9 }], None));
    }
}

#[test]
fn an_invalid_single_bet_is_reported_when_it_is_complete() {
    let single = |first: &str, date: &str| hex(&format!("00000001 {first} 01 42 00000001 {date} 00000007"));
    for (message, defect) in [
        (single("02 41ff", "0a 313939392d30332d3137"), InvalidBet::NotUtf8("first name")),
        (single("03 410a42", "0a 313939392d30332d3137"), InvalidBet::Control("first name")),
        (single("01 41", "0b 313939392d30332d313737"), InvalidBet::Date),
        (single("01 41", "00"), InvalidBet::Date),
        (single("01 41", &format!("ff {}", "61".repeat(255))), InvalidBet::Date),
    ] {
        assert_eq!(decode(&message[..message.len() - 1]), (vec![], None));
        let refused = Request::Bets { form: Form::Single, agency: 1, count: 1, rows: Err(defect) };
        assert_eq!(decode(&message), (vec![refused], None));
    }
}

#[test]
fn agency_0_is_decoded_and_left_to_the_session() {
    let no_agency = Err(InvalidBet::Number("agency"));
    let bets = |form| Request::Bets { form, agency: 0, count: 1, rows: no_agency.clone() };
    for (message, request) in [
        (format!("00000000 {}", &SINGLE[8..]), bets(Form::Single)),
        (format!("00000000 01 {LORCA}"), bets(Form::UntypedBatch)),
        (format!("01 00000000 01 {LORCA}"), bets(Form::TypedBatch)),
        ("01 00000000 00".into(), Request::End { agency: 0 }),
        ("03 00000000".into(), Request::Winners { agency: 0 }),
        ("06 00000000".into(), Request::Tally { agency: 0 }),
    ] {
        assert_eq!(decode(&hex(&message)), (vec![request], None));
    }
}

#[test]
fn batches_of_255_bets_of_79_bytes_follow_each_other() {
    let long = "ñ".repeat(14) + "x";
    let bets = vec![bet(0x00ff_ffff, &long, &long, u32::MAX, "9999-12-31", u32::MAX); 255];
    let agency = AgencyId::new(0x00ff_ffff).unwrap();
    let message = typed::encode_batch(agency, sent(&bets));
    assert_eq!(message.len(), 6 + 255 * 79);
    let twice = [&message[..], &message].concat();
    assert_eq!(decode(&twice), (vec![stored(Form::TypedBatch, 0x00ff_ffff, &bets); 2], None));
    let untyped = batch::encode(agency, sent(&bets));
    assert_eq!(decode(&untyped), (vec![stored(Form::UntypedBatch, 0x00ff_ffff, &bets)], None));
}

#[test]
fn generation_is_known_from_the_first_byte_on() {
    for (first, generation) in [(0, Generation::Untyped), (1, Generation::Typed), (b'A', Generation::Echo)] {
        let mut decoder = Decoder::default();
        decoder.filled(0);
        assert_eq!(decoder.generation(), None);
        put(&mut decoder, &[first]);
        assert_eq!(decoder.generation(), Some(generation));
        put(&mut decoder, b"A");
        assert_eq!(decoder.generation(), Some(generation));
    }
}

// ---- the limits of a batch ----

#[test]
fn batch_knows_its_bets_count_and_length() {
    let two = [lorca(), nandu(1)];
    for bets in [&two[..0], &two[..1], &two] {
        let batch = sent(bets);
        assert_eq!((batch.bets(), usize::from(batch.count())), (bets, bets.len()));
        assert_eq!(batch.encoded_len(), batch::encode(AgencyId::new(1).unwrap(), batch).len());
    }
    assert_eq!(batch::encoded_len(&lorca()), hex(LORCA).len());
    assert_eq!((batch::HEADER, typed::BATCH_HEADER), (hex("00000001 00").len(), hex("01 00000001 00").len()));
}

#[test]
fn batch_holds_at_most_255_bets() {
    let bets = vec![lorca(); 256];
    assert_eq!(Batch::new(&bets[..255]).map(Batch::count), Some(255));
    assert_eq!(Batch::new(&bets), None);
}

#[test]
fn batch_holds_names_of_at_most_29_bytes() {
    let (most, more) = ("x".repeat(29), "ñ".repeat(15));
    let named = |first: &str, last: &str| bet(1, first, last, 0, "1999-03-17", 7);
    for (bet, checked) in [
        (named(&most, &most), Ok(())),
        (named(&more, &most), Err(InvalidBet::TooLong("first name"))),
        (named(&most, &more), Err(InvalidBet::TooLong("last name"))),
    ] {
        assert_eq!(batch::check_len(&bet), checked);
        assert_eq!(Batch::new(&[lorca(), bet]).is_some(), checked.is_ok());
    }
}

// ---- echo ----

#[test]
fn an_echo_has_at_most_1024_bytes() {
    let most = "x".repeat(1024);
    let echo = Request::Echo(most.clone());
    assert_eq!(decode(most.as_bytes()), (vec![], None));
    assert_eq!(decode(format!("{most}\n").as_bytes()), (vec![echo.clone()], None));
    assert_eq!(fed(most.as_bytes()).end_of_stream(), Ok(Some(echo)));
    for too_much in [format!("{most}y"), format!("{most}y\n"), format!("{most} \n"), "x".repeat(BUFFER)] {
        assert_eq!(decode(too_much.as_bytes()), (vec![], Some(Malformed::EchoTooLong)));
    }
}

#[test]
fn an_echo_loses_only_its_trailing_white_space() {
    let echoed = |line: &str| decode(line.as_bytes()).0;
    assert_eq!(echoed("  a \tb \t\r\u{b}\u{c} \n"), [Request::Echo("  a \tb".into())]);
    assert_eq!(echoed("a\u{a0}\u{85}\u{2003}\n"), [Request::Echo("a\u{a0}\u{85}\u{2003}".into())]);
    assert_eq!(echoed("   \n"), [Request::Echo(String::new())]);
}

#[test]
fn the_end_of_the_stream_completes_only_an_echo() {
    let mut echo = fed("Año \r".as_bytes());
    assert_eq!(echo.next_request(), Ok(None));
    assert_eq!(echo.end_of_stream(), Ok(Some(Request::Echo("Año".into()))));
    assert_eq!(echo.end_of_stream(), Ok(None), "once");
    assert!(!echo.mid_message());

    let mut torn = fed(b"a\xc3");
    assert_eq!(torn.next_request(), Ok(None));
    assert_eq!(torn.end_of_stream(), Err(Malformed::EchoNotUtf8));
    assert_eq!(decode(b"a\xc3\n"), (vec![], Some(Malformed::EchoNotUtf8)));

    for (bytes, mid_message) in [("", false), ("00", true), (&SINGLE[..60], true), ("01", true), ("03 000000", true)] {
        let mut decoder = fed(&hex(bytes));
        assert_eq!(decoder.next_request(), Ok(None));
        assert_eq!(decoder.end_of_stream(), Ok(None));
        assert_eq!(decoder.mid_message(), mid_message, "{bytes}");
    }
}

#[test]
fn bytes_after_the_only_message_are_ignored() {
    for message in [hex("41 0a"), hex(SINGLE), hex("00000001 00"), hex(&format!("00000001 01 {LORCA}"))] {
        let mut decoder = fed(&message);
        assert!(decoder.next_request().unwrap().is_some());
        for _ in 0..5 {
            let len = decoder.space().len();
            assert_ne!(len, 0, "an empty read looks like the end of the stream");
            put(&mut decoder, &vec![1; len]);
            assert_eq!(decoder.next_request(), Ok(None));
            assert!(!decoder.mid_message());
        }
    }
}

// ---- every message, at every cut ----

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn a_conversation_is_the_same_in_whatever_pieces_it_arrives(
        conversation in conversation(), pieces in vec(1..3000_usize, 1..8),
    ) {
        let stream = conversation.concat();
        let expected = reference(&stream);
        prop_assert_eq!(expected.0.len(), conversation.len());
        prop_assert_eq!(&deliver(&stream, pieces), &expected);
        prop_assert_eq!(&deliver(&stream, vec![1]), &expected);
    }

    #[test]
    fn a_request_is_complete_with_its_last_byte(conversation in conversation()) {
        let mut decoder = Decoder::new();
        for (n, message) in conversation.iter().enumerate() {
            for (cut, byte) in (1..).zip(message) {
                put(&mut decoder, &[*byte]);
                let whole = cut == message.len();
                prop_assert_eq!(decoder.next_request().unwrap().is_some(), whole);
                prop_assert_eq!(decoder.mid_message(), !whole);
                prop_assert_eq!(decoder.announced(), announced(&message[..cut]).filter(|_| !whole), "{} of {}", cut, n);
            }
        }
    }

    #[test]
    fn what_is_broken_anywhere_is_understood_as_by_the_page(
        conversation in conversation(), damages in vec((any::<usize>(), any::<u8>(), 0..3_u8), 1..4), pieces in vec(1..500_usize, 1..8),
    ) {
        let mut stream = conversation.concat();
        for (place, byte, kind) in damages {
            let place = place % stream.len();
            match kind {
                0 => stream[place] = byte,
                1 => stream.insert(place, byte),
                _ => { stream.splice(place..(place + usize::from(byte)).min(stream.len() - 1), []); }
            }
        }
        prop_assert_eq!(deliver(&stream, pieces), reference(&stream));
    }

    #[test]
    fn any_bytes_are_understood_as_by_the_page(
        first in 0..0x22_u8, rest in vec(prop_oneof![Just(0), Just(1), 0x40..0x50_u8, any::<u8>()], 0..600), pieces in vec(1..50_usize, 1..8),
    ) {
        let stream = [vec![first], rest].concat();
        prop_assert_eq!(deliver(&stream, pieces), reference(&stream));
    }

    #[test]
    fn answers_are_decoded_whole_or_not_at_all(answer in answer()) {
        let message = encoder::encode(&answer, Generation::Typed);
        for cut in 0..message.len() {
            prop_assert_eq!(typed::decode_answer(&message[..cut]), Err(DecodeError::Incomplete));
        }
        let followed = [&message[..], &message].concat();
        prop_assert_eq!(typed::decode_answer(&followed), Ok((answer, message.len())));
    }

    #[test]
    fn start_of_an_answer_is_all_but_the_winners(answer in answer()) {
        let message = encoder::encode(&answer, Generation::Typed);
        let (start, len) = match answer {
            Answer::Winners(documents) => (Answer::Winners(u32::try_from(documents.len()).unwrap()), 5),
            Answer::Confirmation(result) => (Answer::Confirmation(result), message.len()),
            Answer::NotDrawn => (Answer::NotDrawn, message.len()),
            Answer::Tally { agency, tally, ended } => (Answer::Tally { agency, tally, ended }, message.len()),
            Answer::Echo(_) => unreachable!(),
        };
        prop_assert_eq!(message.len() - len, if let Answer::Winners(count) = start { 4 * count as usize } else { 0 });
        for cut in 0..len {
            prop_assert_eq!(typed::decode_answer_start(&message[..cut]), Err(DecodeError::Incomplete));
        }
        prop_assert_eq!(typed::decode_answer_start(&message), Ok((start, len)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn single_bets_are_never_decoded_as_batches(bet in any_bet(255)) {
        let message = single::encode(&bet).unwrap();
        prop_assert_eq!(detect::kind(&message), Some(Kind::Single));
        let seen = (0..message.len()).map(|cut| detect::kind(&message[..cut]));
        prop_assert!(seen.flatten().all(|kind| kind == Kind::Single));
    }

    #[test]
    fn untyped_batches_are_never_decoded_as_single_bets(
        bets in vec(any_bet(29), 0..4), count in any::<u8>(), agency in 1..0x0100_0000_u32,
    ) {
        let mut message = batch::encode(AgencyId::new(agency).unwrap(), sent(&bets));
        prop_assert_eq!(detect::kind(&message), Some(Kind::UntypedBatch));
        if !bets.is_empty() {
            // This may be the beginning of a longer batch, which announces any number of bets.
            message[4] = count.max(bets.len() as u8);
        }
        prop_assert_eq!(detect::kind(&message), Some(Kind::UntypedBatch));
        for cut in 0..message.len() {
            let seen = detect::kind(&message[..cut]);
            prop_assert!(seen.is_none_or(|kind| kind == Kind::UntypedBatch));
            prop_assert_eq!(seen, kind_by_the_page(&message[..cut]), "told as soon as it can be");
        }
    }
}

// ---- messages ----

prop_compose! {
    /// Names have 1 to `longest` bytes; most are short.
    fn any_bet(longest: usize)(
        agency in 1..0x0100_0000_u32, names in [name(longest), name(longest)], document: u32, number: u32,
        (year, month, day) in (1..=9999_u32, 1..=12_u32, 1..=28_u32),
    ) -> Bet<'static> {
        bet(agency, &names[0], &names[1], document, &format!("{year:04}-{month:02}-{day:02}"), number)
    }
}

fn name(longest: usize) -> impl Strategy<Value = String> {
    let any_letter = any::<char>().prop_filter("a control character", |c| !c.is_control());
    let letter = prop_oneof![8 => range(' ', '~'), 1 => range('¡', 'ÿ'), 1 => any_letter];
    let letters = prop_oneof![19 => vec(letter.clone(), 1..12), 1 => vec(letter, 1..=longest)];
    letters.prop_map(move |letters| {
        let name = String::from_iter(letters);
        name[..name.floor_char_boundary(longest)].to_owned()
    })
}

/// The messages of one connection.
fn conversation() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = vec(any::<char>().prop_filter("ends the text", |&c| c != '\n'), 0..300)
        .prop_map(|text| String::from_iter([' '].into_iter().chain(text)));
    let echo = text.prop_filter("too long", |text| text.len() <= ECHO_MAX).prop_map(|text| vec![echo::encode(&text)]);
    let single = any_bet(255).prop_map(|bet| vec![single::encode(&bet).unwrap()]);
    let bets = || prop_oneof![9 => vec(any_bet(29), 0..9), 1 => vec(any_bet(29), 200..=255)];
    let untyped = (1..0x0100_0000_u32, bets())
        .prop_map(|(agency, bets)| vec![batch::encode(AgencyId::new(agency).unwrap(), sent(&bets))]);
    let typed = (1..=u32::MAX).prop_map(|agency| AgencyId::new(agency).unwrap()).prop_flat_map(move |agency| {
        vec(
            prop_oneof![
                4 => bets().prop_map(move |bets| typed::encode_batch(agency, sent(&bets))),
                1 => Just(typed::encode_winners_query(agency)),
                1 => Just(typed::encode_tally_query(agency)),
            ],
            1..6,
        )
    });
    prop_oneof![1 => echo, 1 => single, 2 => untyped, 4 => typed]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (0..=7_u8).prop_map(|byte| Answer::Confirmation(Code::from_byte(byte).unwrap())),
        Just(Answer::NotDrawn),
        vec(any::<u32>(), 0..100).prop_map(Answer::Winners),
        any::<(u32, u64, u32, bool)>().prop_map(|(agency, count, crc, ended)| Answer::Tally {
            agency,
            tally: Tally { count, crc },
            ended,
        }),
    ]
}

// ---- helpers ----

/// The count of the batch that begins with `bytes`.
fn announced(bytes: &[u8]) -> Option<u8> {
    match kind_by_the_page(bytes)? {
        Kind::UntypedBatch => bytes.get(4).copied(),
        Kind::Typed if bytes[0] == 1 => bytes.get(5).copied(),
        _ => None,
    }
}

/// The requests of a connection that receives `stream` in pieces of these lengths, repeated as often as needed.
fn deliver(mut stream: &[u8], pieces: Vec<usize>) -> (Vec<Request>, Option<Malformed>) {
    let mut decoder = Decoder::new();
    let mut requests = Vec::new();
    for piece in pieces.into_iter().cycle() {
        loop {
            match decoder.next_request() {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(malformed) => return (requests, Some(malformed)),
            }
        }
        if stream.is_empty() {
            break;
        }
        let len = piece.min(stream.len()).min(decoder.space().len());
        assert_ne!(len, 0);
        put(&mut decoder, &stream[..len]);
        stream = &stream[len..];
    }
    (requests, None)
}

fn decode(stream: &[u8]) -> (Vec<Request>, Option<Malformed>) {
    deliver(stream, vec![usize::MAX])
}

/// A decoder that has received `bytes` and returned no request yet.
fn fed(bytes: &[u8]) -> Decoder {
    let mut decoder = Decoder::new();
    put(&mut decoder, bytes);
    decoder
}

/// Puts as many bytes as fit.
fn put(decoder: &mut Decoder, bytes: &[u8]) {
    let space = decoder.space();
    let len = bytes.len().min(space.len());
    space[..len].copy_from_slice(&bytes[..len]);
    decoder.filled(len);
}

fn stored(form: Form, agency: u32, bets: &[Bet<'_>]) -> Request {
    Request::Bets { form, agency, count: bets.len().try_into().unwrap(), rows: Ok(bets.iter().collect::<Rows>()) }
}

fn bet(agency: u32, first: &str, last: &str, document: u32, birthdate: &str, number: u32) -> Bet<'static> {
    let names = [first.as_bytes(), last.as_bytes()];
    Bet::new(AgencyId::new(agency).unwrap(), names, document, birthdate.as_bytes(), number).unwrap().into_owned()
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
